//! What normalization is asked for, and what the forward pass leaves for the backward pass.
//!
//! Statistics by channel are turned into one multiplication and addition per value ([`Affine`])
//! before the pass. What is kept is small: two bytes and a float for each output, next to the input
//! that the layer before keeps anyway. Buffers keep their capacity from step to step.
//!
//! The statistics are as exact as their inputs. Channels are neighbors in memory, so a sum by channel
//! is a vector addition per pixel. f32 sums of more than some hundred values lose digits: each image's
//! pixels are summed 256 at a time in f32, which is what the vector units are fast at, and these sums
//! are added in f64.

use crate::parallel::{self, Shared, share};
use crate::simd_level::{SimdLevel, multiversioned};

use super::shape::NormPoolShape;

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
    /// For each output: the place of the maximum in its window, and [`BLOCKED`]. Empty where both
    /// are the same everywhere: without pooling, activation and dropout.
    pub(super) argmax: Vec<u16>,
    /// For each output: the input at that place. Empty without normalization or pooling. A quarter
    /// of the input (for 2×2 windows) that the backward pass reads instead of the input itself.
    pub(super) maxima: Vec<f32>,
}

/// Set in the place of an output that was dropped, or whose activation was outside its range: no
/// gradient passes.
pub(super) const BLOCKED: u16 = 1 << 15;

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
    /// For how many outputs it has memory: 0 if it never kept anything of each.
    pub fn capacity(&self) -> usize {
        self.argmax.capacity()
    }

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
                maxima: std::mem::take(&mut self.maxima),
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

/// Pixels that are summed in f32 before the sum goes to f64.
const PIXELS: usize = 256;

/// Mean and variance (divided by the count: "biased") of each channel.
///
/// The sums are of differences from the first pixel, so that a mean far from zero costs no digits.
fn mean_and_variance(
    shape: &NormPoolShape,
    level: SimdLevel,
    input: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let channels = shape.channels;
    let pivot = &input[..channels];
    let sums = sum_images(shape, |image, sums| {
        let image = &input[image * shape.image_in()..][..shape.image_in()];
        let mut part = vec![0.0; 2 * channels];
        for pixels in image.chunks(PIXELS * channels) {
            part.fill(0.0);
            add_moments(level, pixels, pivot, &mut part);
            sums.iter_mut()
                .zip(&part)
                .for_each(|(sum, &part)| *sum += f64::from(part));
        }
    });
    let count = (shape.batch * shape.height * shape.width) as f64;
    let (first, second) = sums.split_at(channels);
    let mean = first
        .iter()
        .zip(pivot)
        .map(|(sum, &pivot)| (f64::from(pivot) + sum / count) as f32)
        .collect();
    let variance = first
        .iter()
        .zip(second)
        .map(|(a, b)| (b / count - (a / count).powi(2)).max(0.0) as f32)
        .collect();
    (mean, variance)
}

/// Runs `add(image, sums)` for each image, and adds up the tasks' `2 × channels` sums in the tasks'
/// order.
pub(super) fn sum_images(
    shape: &NormPoolShape,
    add: impl Fn(usize, &mut [f64]) + Sync,
) -> Vec<f64> {
    let length = 2 * shape.channels;
    let threads = parallel::threads_for(shape.input_len()).min(shape.batch);
    let mut all = vec![0.0; length * threads];
    let shared = Shared::new(&mut all);
    parallel::tasks(threads, |task, tasks| {
        // SAFETY: each task has its own.
        let sums = unsafe { shared.slice(task * length, length) };
        for image in share(shape.batch, task, tasks) {
            add(image, sums);
        }
    });
    (0..length)
        .map(|i| all[i..].iter().step_by(length).sum())
        .collect()
}

multiversioned! {
    fn add_moments(pixels: &[f32], pivot: &[f32], sums: &mut [f32]) = add_moments_body
}

#[inline(always)]
fn add_moments_body(pixels: &[f32], pivot: &[f32], sums: &mut [f32]) {
    let (first, second) = sums.split_at_mut(pivot.len());
    for pixel in pixels.chunks_exact(pivot.len()) {
        for (((a, b), &x), &pivot) in first
            .iter_mut()
            .zip(second.iter_mut())
            .zip(pixel)
            .zip(pivot)
        {
            let x = x - pivot;
            *a += x;
            *b += x * x;
        }
    }
}
