//! Batch normalizations folded into the weights before them, and taken out again.

use kiln_model::graph::UnfoldedConv;

use crate::{Tensor, Weights, WeightsError};

/// A batch normalization in inference form: `(y - mean) / sqrt(variance + epsilon) * scale + shift`, with
/// one value of each for each channel.
#[derive(Debug, Clone, Copy)]
pub struct BatchNormValues<'a> {
    /// Factors.
    pub scale: &'a [f32],
    /// Terms.
    pub shift: &'a [f32],
    /// Stored means.
    pub mean: &'a [f32],
    /// Stored variances.
    pub variance: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
}

impl<'a> BatchNormValues<'a> {
    /// Takes scale, shift, mean and variance by their names.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Missing`].
    pub fn of(
        weights: &'a Weights,
        [scale, shift, mean, variance]: &[String; 4],
        epsilon: f32,
    ) -> Result<Self, WeightsError> {
        let values = |name: &String| Ok::<_, WeightsError>(weights.require(name)?.data.as_slice());
        Ok(Self {
            scale: values(scale)?,
            shift: values(shift)?,
            mean: values(mean)?,
            variance: values(variance)?,
            epsilon,
        })
    }

    /// Returns weight and bias of a layer with this normalization of its output folded in; `weight` is
    /// `[channels, …]`.
    ///
    /// With `factor = scale / sqrt(variance + epsilon)`, the weights become `w * factor` and the bias
    /// `(b - mean) * factor + shift`. Computed in f64, rounded once.
    pub fn fold(&self, weight: &[f32], bias: Option<&[f32]>) -> (Vec<f32>, Vec<f32>) {
        let factor: Vec<f64> = self
            .scale
            .iter()
            .zip(self.variance)
            .map(|(&scale, &variance)| {
                f64::from(scale) / (f64::from(variance) + f64::from(self.epsilon)).sqrt()
            })
            .collect();
        let per_channel = weight.len() / factor.len().max(1);
        let scaled = weight
            .chunks_exact(per_channel.max(1))
            .zip(&factor)
            .flat_map(|(row, factor)| row.iter().map(move |&w| (f64::from(w) * factor) as f32));
        let shifted = (0..factor.len()).map(|channel| {
            let old = bias.map_or(0.0, |bias| f64::from(bias[channel]));
            let centered = old - f64::from(self.mean[channel]);
            (centered * factor[channel] + f64::from(self.shift[channel])) as f32
        });
        (scaled.collect(), shifted.collect())
    }
}

/// Mean and variance of each channel of a value, of which images are added one after another: in f64, and
/// without differences of large sums, so that a constant channel has a variance of exactly 0.
///
/// Chan, Golub and `LeVeque` (1979), "Updating Formulae and a Pairwise Algorithm for Computing Sample
/// Variances".
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelStatistics(Vec<Moments>);

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Moments {
    count: f64,
    mean: f64,
    /// Sum of the squares of the deviations from the mean.
    squares: f64,
}

impl Moments {
    /// Those of at least one value.
    fn of(values: &[f32]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().copied().map(f64::from).sum::<f64>() / count;
        let squares = values
            .iter()
            .map(|&value| (f64::from(value) - mean).powi(2));
        Self {
            count,
            mean,
            squares: squares.sum(),
        }
    }

    /// Those of both; `other` is of at least one value.
    fn with(self, other: Self) -> Self {
        let count = self.count + other.count;
        let difference = other.mean - self.mean;
        let share = other.count / count;
        Self {
            count,
            mean: self.mean + difference * share,
            squares: self.squares + other.squares + difference.powi(2) * self.count * share,
        }
    }

    /// Mean and standard deviation; no deviation where all values are the same but for rounding, and
    /// no mean where there is none.
    fn to_parts(self) -> (f64, Option<f64>) {
        if !self.mean.is_finite() {
            return (0.0, None);
        }
        let deviation = (self.squares / self.count.max(1.0)).sqrt();
        let least = (ROUNDING * self.mean.abs()).max(LEAST);
        (
            self.mean,
            Some(deviation).filter(|&it| it > least && it.is_finite()),
        )
    }
}

/// Deviation as a part of the mean that rounding alone may give: a value sums up products in f32, in
/// another order at the image's border.
const ROUNDING: f64 = 1e-5;
/// Deviation below which dividing by it may leave the range of f32.
const LEAST: f64 = 1e-20;

impl ChannelStatistics {
    /// Statistics of no values yet.
    pub fn new(channels: usize) -> Self {
        Self(vec![Moments::default(); channels])
    }

    /// Adds so many images `[images, channels, …]`, row-major.
    pub fn add(&mut self, values: &[f32], images: usize) {
        let rows = images * self.0.len();
        let pixels = values.len().checked_div(rows).unwrap_or(0);
        if pixels == 0 {
            return;
        }
        for image in values.chunks_exact(self.0.len() * pixels) {
            for (channel, values) in self.0.iter_mut().zip(image.chunks_exact(pixels)) {
                *channel = channel.with(Moments::of(values));
            }
        }
    }
}

/// Adds the normalization of an unfolded convolution of a layer that does nothing but add the
/// convolution's bias.
pub fn add_unfolded_norm(weights: &mut Weights, layer: &str, conv: &UnfoldedConv, bias: &[f32]) {
    let filled = |value: f32| vec![value; bias.len()];
    let values = [
        filled(1.0),
        bias.to_vec(),
        filled(0.0),
        filled(UnfoldedConv::VARIANCE),
    ];
    for (name, data) in conv.norm_in(layer).into_iter().zip(values) {
        let shape = vec![data.len()];
        weights.insert(name, Tensor { shape, data });
    }
}

/// Changes the weights of an unfolded convolution of a layer, as they are after [`add_unfolded_norm`], so that its
/// output has a deviation of 1 and the normalization restores the scale: with mean `m` and deviation `s`
/// of the output, and bias `b`, the weight becomes `w / s`, the stored mean `m / s`, the scale `s` and the
/// shift `b + m`. The layer computes what it did, to rounding.
///
/// A channel whose output is constant keeps its weights, with a scale of 1.
///
/// # Errors
///
/// [`WeightsError::Missing`].
pub fn unfold_conv(
    weights: &mut Weights,
    layer: &str,
    conv: &UnfoldedConv,
    statistics: &ChannelStatistics,
) -> Result<(), WeightsError> {
    let [scale, shift, mean, _] = conv.norm_in(layer);
    let (mut scales, mut means) = (Vec::new(), Vec::new());
    let bias = weights.require(&shift)?.data.iter();
    let shifts: Vec<f32> = bias
        .zip(&statistics.0)
        .map(|(&bias, moments)| {
            let (mean, deviation) = moments.to_parts();
            let scale = deviation.unwrap_or(1.0) as f32;
            let stored = (mean / f64::from(scale)) as f32;
            scales.push(scale);
            means.push(stored);
            // What the stored mean lost in rounding comes back.
            (f64::from(bias) + f64::from(stored) * f64::from(scale)) as f32
        })
        .collect();
    let weight = weights.require_mut(&conv.weight_in(layer))?;
    let per_channel = weight.data.len() / scales.len().max(1);
    let rows = weight.data.chunks_exact_mut(per_channel.max(1));
    for (row, &scale) in rows.zip(&scales) {
        for value in row {
            *value = (f64::from(*value) / f64::from(scale)) as f32;
        }
    }
    for (name, data) in [(scale, scales), (shift, shifts), (mean, means)] {
        weights.require_mut(&name)?.data = data;
    }
    Ok(())
}

/// Returns weight and bias of an unfolded convolution of a layer, its normalization folded in.
///
/// # Errors
///
/// [`WeightsError::Missing`].
pub fn fold_conv(
    weights: &Weights,
    layer: &str,
    conv: &UnfoldedConv,
) -> Result<(Vec<f32>, Vec<f32>), WeightsError> {
    let norm = BatchNormValues::of(weights, &conv.norm_in(layer), UnfoldedConv::EPSILON)?;
    let weight = weights.require(&conv.weight_in(layer))?;
    Ok(norm.fold(&weight.data, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv() -> UnfoldedConv {
        UnfoldedConv {
            node: 0,
            weight: "w".into(),
            bias: "b".into(),
            norm: ["scale", "shift", "mean", "variance"].map(|role| format!("w.norm.{role}")),
        }
    }

    /// Four filters of two values, and a bias of each.
    const WEIGHT: [f32; 8] = [0.5, -0.25, 40.0, 17.0, 1e-7, 3e-7, 0.3, 0.7];
    const BIAS: [f32; 4] = [0.1, -200.0, 1e-6, 0.9];

    fn weights() -> Weights {
        let mut weights = Weights::default();
        let data = WEIGHT.to_vec();
        let shape = vec![4, 2, 1, 1];
        weights.insert("layer.w", Tensor { shape, data });
        add_unfolded_norm(&mut weights, "layer", &conv(), &BIAS);
        weights
    }

    /// Of outputs for inputs that look random, the last channel's constant.
    fn statistics() -> ChannelStatistics {
        let mut statistics = ChannelStatistics::new(4);
        for image in 0_u8..5 {
            let pixels = |channel: usize| {
                (0_u8..9).map(move |pixel| {
                    let x = f32::from((image * 37 + pixel * 11) % 23) / 23.0;
                    let y = f32::from((image * 5 + pixel * 29) % 19) / 19.0;
                    if channel == 3 {
                        -0.7
                    } else {
                        WEIGHT[2 * channel] * x + WEIGHT[2 * channel + 1] * y
                    }
                })
            };
            let values: Vec<f32> = (0..4).flat_map(pixels).collect();
            statistics.add(&values, 1);
        }
        statistics
    }

    #[test]
    fn nothing_measured_is_folded_to_the_same_bits() {
        let (weight, bias) = fold_conv(&weights(), "layer", &conv()).unwrap();
        assert_eq!((&weight[..], &bias[..]), (&WEIGHT[..], &BIAS[..]));
    }

    #[test]
    fn unfolded_weights_are_folded_back() {
        let mut weights = weights();
        unfold_conv(&mut weights, "layer", &conv(), &statistics()).unwrap();
        let data = |name: &str| {
            weights
                .require(&format!("layer.{name}"))
                .unwrap()
                .data
                .clone()
        };
        let scale = data("w.norm.scale");
        assert_eq!(scale[3].to_bits(), 1_f32.to_bits(), "constant");
        assert!(scale[1] > 5.0 && scale[2] < 1e-6, "{scale:?}");
        assert_eq!(data("w")[6..], WEIGHT[6..]);
        assert!(data("w")[..6].iter().all(|w| (0.5..5.0).contains(&w.abs())));
        let (weight, bias) = fold_conv(&weights, "layer", &conv()).unwrap();
        for (found, expected) in weight.iter().zip(WEIGHT) {
            assert!((found / expected - 1.0).abs() < 2e-7, "{found} {expected}");
        }
        // A bias is what is left of the shift.
        for ((found, expected), shift) in bias.iter().zip(BIAS).zip(data("w.norm.shift")) {
            let largest = expected.abs().max(shift.abs());
            assert!(
                (found - expected).abs() <= largest * f32::EPSILON,
                "{found} {expected}"
            );
        }
    }

    #[test]
    fn statistics_do_not_depend_on_batches() {
        let values: Vec<f32> = (0_u16..240).map(|i| f32::from(i * 71 % 97) + 1e4).collect();
        let (mut whole, mut parts) = (ChannelStatistics::new(3), ChannelStatistics::new(3));
        whole.add(&values, 20);
        for part in values.chunks(60) {
            parts.add(part, 5);
        }
        assert_eq!(whole, parts);
        let of_first: Vec<f64> = values
            .chunks(12)
            .flat_map(|image| image[..4].iter().copied().map(f64::from))
            .collect();
        let mean = of_first.iter().sum::<f64>() / 80.0;
        let variance = of_first.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 80.0;
        let (found, deviation) = whole.0[0].to_parts();
        assert!((found - mean).abs() < 1e-9);
        assert!((deviation.unwrap() - variance.sqrt()).abs() < 1e-9);
    }

    #[test]
    fn what_is_no_number_leaves_the_weights_alone() {
        let mut statistics = statistics();
        statistics.add(&[f32::NAN, f32::INFINITY, 1.0, 2.0], 1);
        let mut weights = weights();
        unfold_conv(&mut weights, "layer", &conv(), &statistics).unwrap();
        let (weight, bias) = fold_conv(&weights, "layer", &conv()).unwrap();
        assert_eq!((&weight[..4], &bias[..2]), (&WEIGHT[..4], &BIAS[..2]));
    }
}
