//! What a kernel applies to its result in registers: activations whose gradient follows from that
//! result alone, bias and residual.

use crate::parallel::{self, Shared, share};
use crate::simd_level::{SimdLevel, multiversioned};

/// What follows a sum, of a convolution or a normalization, in the same pass.
///
/// The gradient of each is 0 or that of its output, which tells which: nothing else has to be kept
/// for the backward pass. Activations without this property are
/// [`Elementwise`](crate::Elementwise).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Activation {
    /// Nothing.
    #[default]
    Linear,
    /// `max(x, 0)`; NaN stays NaN.
    Relu,
    /// `min(max(x, 0), 6)`; NaN stays NaN.
    Relu6,
}

impl Activation {
    /// The activation of `x`.
    #[inline(always)]
    pub(crate) fn apply(self, x: f32) -> f32 {
        match self {
            Self::Linear => x,
            Self::Relu => relu(x),
            Self::Relu6 => {
                let x = relu(x);
                if x > 6.0 { 6.0 } else { x }
            }
        }
    }

    /// Whether the gradient of an output passes to what was before the activation.
    #[inline(always)]
    pub(crate) fn passes(self, output: f32) -> bool {
        match self {
            Self::Linear => true,
            Self::Relu => output > 0.0,
            Self::Relu6 => output > 0.0 && output < 6.0,
        }
    }
}

#[inline(always)]
fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// Evaluates `$body` with `$name` a constant for each activation, so that loops in it are compiled
/// without a choice.
macro_rules! for_activation {
    ($activation:expr, $name:ident => $body:expr) => {
        match $activation {
            $crate::Activation::Linear => {
                const $name: $crate::Activation = $crate::Activation::Linear;
                $body
            }
            $crate::Activation::Relu => {
                const $name: $crate::Activation = $crate::Activation::Relu;
                $body
            }
            $crate::Activation::Relu6 => {
                const $name: $crate::Activation = $crate::Activation::Relu6;
                $body
            }
        }
    };
}
pub(crate) use for_activation;

/// What follows a convolution's or dense layer's sum in the same pass: `activation(sum + bias +
/// residual)`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Epilogue<'a> {
    /// Added to each pixel, `[filters]`.
    pub bias: Option<&'a [f32]>,
    /// Added to the output before the activation, of the output's shape: a residual connection. Its
    /// gradient is that before the activation
    /// ([`activation_gradient`]).
    pub residual: Option<&'a [f32]>,
    /// Applied last.
    pub activation: Activation,
}

/// The gradient before an activation, which is also that of a residual that was added there:
/// `gradient` where the activation's `output` lies inside its range, 0 elsewhere.
///
/// For [`Activation::Linear`], it is a copy.
///
/// # Panics
///
/// When the slices differ in length.
pub fn activation_gradient(
    activation: Activation,
    gradient: &[f32],
    output: &[f32],
    to: &mut [f32],
) {
    let length = gradient.len();
    assert_eq!(
        (output.len(), to.len()),
        (length, length),
        "activation: lengths"
    );
    let level = SimdLevel::current();
    let to = Shared::new(to);
    parallel::tasks(parallel::threads_for_light(length), |task, tasks| {
        let range = share(length, task, tasks);
        // SAFETY: each range is one task's.
        let to = unsafe { to.slice(range.start, range.len()) };
        mask(
            level,
            activation,
            &gradient[range.clone()],
            &output[range],
            to,
        );
    });
}

multiversioned! {
    fn mask(activation: Activation, gradient: &[f32], output: &[f32], to: &mut [f32]) = mask_body
}

#[inline(always)]
fn mask_body(activation: Activation, gradient: &[f32], output: &[f32], to: &mut [f32]) {
    for_activation!(activation, ACTIVATION => {
        for ((to, &gradient), &output) in to.iter_mut().zip(gradient).zip(output) {
            *to = if ACTIVATION.passes(output) { gradient } else { 0.0 };
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_passes_inside_the_range() {
        let output = [-1.0, 0.0, 0.5, 5.9, 6.0, f32::NAN];
        let gradient = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        for level in SimdLevel::available() {
            let masked = |activation| {
                let mut to = [9.0; 6];
                SimdLevel::scope(level, || {
                    activation_gradient(activation, &gradient, &output, &mut to);
                });
                to.map(|gradient| gradient as u8)
            };
            assert_eq!(masked(Activation::Linear), [1, 2, 3, 4, 5, 6]);
            assert_eq!(masked(Activation::Relu), [0, 0, 3, 4, 5, 0]);
            assert_eq!(masked(Activation::Relu6), [0, 0, 3, 4, 0, 0]);
        }
    }

    #[test]
    fn activations_clip_and_keep_nan() {
        let inputs = [-2.0, 3.0, 7.0];
        let applied =
            |activation: Activation| inputs.map(|x| activation.apply(x)).map(f32::to_bits);
        assert_eq!(applied(Activation::Relu), [0.0, 3.0, 7.0].map(f32::to_bits));
        assert_eq!(
            applied(Activation::Relu6),
            [0.0, 3.0, 6.0].map(f32::to_bits)
        );
        assert!(Activation::Relu6.apply(f32::NAN).is_nan());
    }
}
