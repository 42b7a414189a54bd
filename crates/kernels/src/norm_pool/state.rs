//! What normalization is asked for, and what the forward pass leaves for the backward pass.
//!
//! Statistics by channel are turned into one multiplication and addition per value ([`Affine`])
//! before the pass. What is kept is small: two bytes and a float for each output, next to the input
//! that the layer before keeps anyway. Buffers keep their capacity from step to step.

use crate::simd_level::SimdLevel;

use super::shape::NormPoolShape;
use super::statistics::mean_and_variance;

/// Batch normalization: `gamma * (x - mean) / sqrt(variance + epsilon) + beta` by channel.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// Scale, `[channels]`.
    pub gamma: &'a [f32],
    /// Shift, `[channels]`.
    pub beta: &'a [f32],
    /// Added to the variance; Keras's default is 1e-3, PyTorch's 1e-5.
    pub epsilon: f32,
    /// Where mean and variance come from.
    pub statistics: Statistics<'a>,
}

/// Where a batch normalization's mean and variance come from.
#[derive(Debug, Clone, Copy)]
pub enum Statistics<'a> {
    /// The batch: training. They are left in the [`NormPoolState`].
    Batch,
    /// Running averages: inference, or a frozen layer in training.
    Running {
        /// `[channels]`.
        mean: &'a [f32],
        /// `[channels]`.
        variance: &'a [f32],
    },
}

/// What the backward pass needs of the forward pass. Keep one for each layer: its buffers are used
/// again.
#[derive(Debug, Clone, Default)]
pub struct NormPoolState {
    /// Mean of each channel that was subtracted; empty without normalization.
    pub mean: Vec<f32>,
    /// Variance of each channel, divided by the count (biased); empty without normalization.
    pub variance: Vec<f32>,
    /// `1 / sqrt(variance + epsilon)`.
    pub(super) inverse: Vec<f32>,
    /// Whether mean and variance depend on the input.
    pub(super) of_batch: bool,
    /// Dropout's factor.
    pub(super) scale: f32,
    /// For each output: the place of the maximum in its window, and [`DROPPED`].
    pub(super) argmax: Vec<u16>,
    /// For each output: the input at that place. Empty without normalization. A quarter of the
    /// input (for 2×2 windows) that the backward pass reads instead of the input itself.
    pub(super) maxima: Vec<f32>,
}

/// Set in the place of an output that was dropped.
pub(super) const DROPPED: u16 = 1 << 15;

/// `(x - mean) * scale + shift` by channel.
pub(super) struct Affine {
    /// Of the scale: the largest `x * sign` is the largest after normalization. 0 where all are
    /// equal then.
    pub sign: Vec<f32>,
    pub mean: Vec<f32>,
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
}

impl NormPoolState {
    /// Sets the statistics, and gives the normalization that they make.
    pub(super) fn prepare(
        &mut self,
        shape: &NormPoolShape,
        level: SimdLevel,
        norm: Option<&Norm>,
        input: &[f32],
    ) -> Affine {
        let channels = shape.channels;
        let Some(norm) = norm else {
            *self = Self {
                argmax: std::mem::take(&mut self.argmax),
                ..Self::default()
            };
            let (zeros, ones) = (vec![0.0; channels], vec![1.0; channels]);
            return Affine {
                sign: ones.clone(),
                mean: zeros.clone(),
                scale: ones,
                shift: zeros,
            };
        };
        assert_eq!(norm.gamma.len(), channels, "batch norm: gamma");
        assert_eq!(norm.beta.len(), channels, "batch norm: beta");
        self.of_batch = matches!(norm.statistics, Statistics::Batch);
        (self.mean, self.variance) = match norm.statistics {
            Statistics::Batch => mean_and_variance(shape, level, input),
            Statistics::Running { mean, variance } => (mean.to_vec(), variance.to_vec()),
        };
        assert_eq!(
            (self.mean.len(), self.variance.len()),
            (channels, channels),
            "batch norm: mean and variance"
        );
        self.inverse = self
            .variance
            .iter()
            .map(|variance| 1.0 / (variance + norm.epsilon).sqrt())
            .collect();
        let scale = norm
            .gamma
            .iter()
            .zip(&self.inverse)
            .map(|(gamma, inverse)| gamma * inverse)
            .collect();
        let sign = norm
            .gamma
            .iter()
            .map(|&gamma| if gamma == 0.0 { 0.0 } else { gamma.signum() })
            .collect();
        Affine {
            sign,
            mean: self.mean.clone(),
            scale,
            shift: norm.beta.to_vec(),
        }
    }
}
