//! Scales and zero points: `real = (integer - zero_point) * scale`.

use crate::observe::Range;

/// The integers of activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Activations {
    /// 0 to 255, with a zero point: all 256 steps are of use where values are of one sign, as behind `ReLU`. What
    /// ONNX Runtime and OpenVINO compute fastest on CPUs.
    #[default]
    Asymmetric,
    /// -127 to 127 around 0, the only kind that TensorRT takes.
    Symmetric,
}

/// How real numbers become integers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// The step.
    pub scale: f32,
    /// The integer that stands for 0.
    pub zero: i32,
}

impl Scale {
    /// That of values in a range, with 0 among them: padding must be exact.
    pub fn of(range: Range, activations: Activations) -> Self {
        let (low, high) = (range.low.min(0.0), range.high.max(0.0));
        match activations {
            Activations::Asymmetric => {
                let scale = step((high - low) / 255.0);
                let zero = (-f64::from(low) / f64::from(scale))
                    .round()
                    .clamp(0.0, 255.0);
                Self {
                    scale,
                    zero: zero as i32,
                }
            }
            Activations::Symmetric => Self {
                scale: step(high.max(-low) / 127.0),
                zero: 0,
            },
        }
    }
}

/// A step that can be divided by.
fn step(step: f32) -> f32 {
    if step >= f32::MIN_POSITIVE { step } else { 1.0 }
}

/// Weights in integers from -127 to 127, with a scale for each channel.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedWeights {
    /// In the order of the weights.
    pub values: Vec<i8>,
    /// One for each channel.
    pub scales: Vec<f32>,
}

/// Where the channels of a row-major tensor are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Along {
    /// Number of channels.
    pub channels: usize,
    /// Values from one channel to the next.
    pub inner: usize,
}

impl Along {
    /// An axis of a shape.
    pub fn axis(shape: &[usize], axis: usize) -> Self {
        Self {
            channels: shape[axis],
            inner: shape[axis + 1..].iter().product(),
        }
    }

    /// The channel of a value.
    pub const fn channel(self, at: usize) -> usize {
        at / self.inner % self.channels
    }
}

impl QuantizedWeights {
    /// Rounds weights; a channel's step is at least `least` of it.
    pub fn of(weights: &[f32], along: Along, least: impl Fn(usize) -> f32) -> Self {
        let mut largest = vec![0.0_f32; along.channels];
        for (at, weight) in weights.iter().enumerate() {
            let largest = &mut largest[along.channel(at)];
            *largest = largest.max(weight.abs());
        }
        let scales: Vec<f32> = largest
            .iter()
            .enumerate()
            .map(|(channel, largest)| step((largest / 127.0).max(least(channel))))
            .collect();
        let values = weights.iter().enumerate().map(|(at, weight)| {
            let steps = weight / scales[along.channel(at)];
            steps.round_ties_even().clamp(-127.0, 127.0) as i8
        });
        Self {
            values: values.collect(),
            scales,
        }
    }

    /// The weight that an integer stands for.
    pub fn restored(&self, at: usize, along: Along) -> f32 {
        f32::from(self.values[at]) * self.scales[along.channel(at)]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn zero_is_exact_and_a_constant_has_a_step() {
        let scale = Scale::of(Range::new(-1.0, 3.0), Activations::Asymmetric);
        assert_eq!(scale.zero, 64);
        let scale = Scale::of(Range::new(0.5, 6.0), Activations::Asymmetric);
        assert_eq!((scale.zero, scale.scale), (0, 6.0 / 255.0));
        let scale = Scale::of(Range::new(-8.0, 6.0), Activations::Symmetric);
        assert_eq!((scale.zero, scale.scale), (0, 8.0 / 127.0));
        let scale = Scale::of(Range::new(0.0, 0.0), Activations::Asymmetric);
        assert_eq!((scale.zero, scale.scale), (0, 1.0));
    }

    proptest! {
        #[test]
        fn weights_are_restored_to_half_a_step(weights in proptest::collection::vec(-3.0_f32..3.0, 24)) {
            let along = Along::axis(&[2, 3, 4], 1);
            let quantized = QuantizedWeights::of(&weights, along, |_| 0.0);
            for (at, weight) in weights.iter().enumerate() {
                let step = quantized.scales[along.channel(at)];
                prop_assert!((quantized.restored(at, along) - weight).abs() <= 0.501 * step);
            }
        }
    }
}
