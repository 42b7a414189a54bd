//! Layer normalization over the last axis.
//!
//! A row is read from memory once: mean, variance and result are three loops over it in the L1
//! cache. The backward pass makes the statistics again, which costs less than keeping them would
//! complicate.

use crate::parallel::{self, Scratch, Shared, share};
use crate::simd_level::{SimdLevel, multiversioned};

/// Layer normalization: `gamma · (x - mean) / sqrt(variance + epsilon) + beta`, mean and (biased)
/// variance of each row of channels (Ba et al., "Layer Normalization", 2016).
#[derive(Debug, Clone, Copy)]
pub struct LayerNorm<'a> {
    /// Scale, `[channels]`.
    pub gamma: &'a [f32],
    /// Shift, `[channels]`.
    pub beta: &'a [f32],
    /// Added to the variance; that of `ConvNeXt` is 1e-6, PyTorch's default 1e-5.
    pub epsilon: f32,
}

/// Where the gradients of a layer normalization go.
#[derive(Debug)]
pub struct LayerNormGradients<'a> {
    /// `[rows, channels]`.
    pub input: &'a mut [f32],
    /// `[channels]`.
    pub gamma: &'a mut [f32],
    /// `[channels]`.
    pub beta: &'a mut [f32],
}

/// Layer normalization of each row of `input`, `[rows, channels]`, to `output`.
///
/// # Panics
///
/// When gamma and beta differ in length or are empty, or a slice is not some rows of that length.
pub fn layer_norm_forward(norm: &LayerNorm, input: &[f32], output: &mut [f32]) {
    let channels = norm.channels(input);
    assert_eq!(output.len(), input.len(), "layer norm: output");
    let level = SimdLevel::current();
    let rows = input.len() / channels;
    let output = Shared::new(output);
    parallel::tasks(
        parallel::threads_for_light(input.len()).min(rows),
        |task, tasks| {
            let rows = share(rows, task, tasks);
            let (start, length) = (rows.start * channels, rows.len() * channels);
            // SAFETY: each row is one task's.
            let output = unsafe { output.slice(start, length) };
            forward(level, norm, &input[start..start + length], output);
        },
    );
}

/// Gradients of [`layer_norm_forward`] from that of its output: with `n` the normalized row and `d =
/// gamma · gradient`,
///
/// ```text
/// to_input = (d - mean(d) - n · mean(d · n)) / sqrt(variance + epsilon)
/// ```
///
/// # Panics
///
/// As [`layer_norm_forward`].
pub fn layer_norm_backward(
    norm: &LayerNorm,
    input: &[f32],
    gradient: &[f32],
    gradients: LayerNormGradients,
) {
    /// Rows whose sums are in f32 before they go to f64.
    const ROWS: usize = 256;
    let channels = norm.channels(input);
    let LayerNormGradients {
        input: to_input,
        gamma,
        beta,
    } = gradients;
    assert_eq!(
        (gradient.len(), to_input.len()),
        (input.len(), input.len()),
        "layer norm: gradients"
    );
    assert_eq!(
        (gamma.len(), beta.len()),
        (channels, channels),
        "layer norm: gradients"
    );
    let level = SimdLevel::current();
    let rows = input.len() / channels;
    let threads = parallel::threads_for(input.len()).min(rows);
    let mut sums = vec![0.0_f64; 2 * channels * threads];
    let (to_input, all_sums) = (Shared::new(to_input), Shared::new(&mut sums));
    parallel::tasks(threads, |task, tasks| {
        // SAFETY: each task has its own.
        let sums = unsafe { all_sums.slice(task * 2 * channels, 2 * channels) };
        let mut part = Scratch::any(2 * channels);
        let rows = share(rows, task, tasks);
        for first in rows.clone().step_by(ROWS) {
            let (start, length) = (first * channels, ROWS.min(rows.end - first) * channels);
            // SAFETY: each row is one task's.
            let to_input = unsafe { to_input.slice(start, length) };
            let range = start..start + length;
            part.fill(0.0);
            backward(
                level,
                norm,
                &input[range.clone()],
                &gradient[range],
                to_input,
                &mut part,
            );
            sums.iter_mut()
                .zip(part.iter())
                .for_each(|(sum, &part)| *sum += f64::from(part));
        }
    });
    for (index, to) in gamma.iter_mut().chain(beta).enumerate() {
        let tasks = sums[index.min(sums.len())..].iter().step_by(2 * channels);
        *to = tasks.sum::<f64>() as f32;
    }
}

impl LayerNorm<'_> {
    /// Checks the lengths.
    fn channels(&self, input: &[f32]) -> usize {
        let channels = self.gamma.len();
        assert!(channels > 0, "layer norm: gamma");
        assert_eq!(self.beta.len(), channels, "layer norm: beta");
        assert!(input.len().is_multiple_of(channels), "layer norm: input");
        channels
    }
}

/// Partial sums of a row: two vectors of most levels, so that additions wait less for one another.
const LANES: usize = 16;

/// Sums over a row of the `M` values that `term` makes of the elements at equal places of some
/// slices, in an order that the compiler can vectorize.
#[inline(always)]
fn sums<const N: usize, const M: usize>(
    slices: [&[f32]; N],
    term: impl Fn([f32; N]) -> [f32; M],
) -> [f32; M] {
    let mut sums = [[0.0; LANES]; M];
    let length = slices.iter().map(|slice| slice.len()).min().unwrap_or(0);
    let whole = length - length % LANES;
    for start in (0..whole).step_by(LANES) {
        let parts: [[f32; LANES]; N] = slices.map(|slice| {
            *slice[start..]
                .first_chunk()
                .expect("whole chunks before the rest")
        });
        for lane in 0..LANES {
            let terms = term(std::array::from_fn(|i| parts[i][lane]));
            for (sums, term) in sums.iter_mut().zip(terms) {
                sums[lane] += term;
            }
        }
    }
    for index in whole..length {
        let terms = term(slices.map(|slice| slice[index]));
        for (sums, term) in sums.iter_mut().zip(terms) {
            sums[index - whole] += term;
        }
    }
    sums.map(|mut sums| {
        let mut half = LANES / 2;
        while half > 0 {
            for lane in 0..half {
                sums[lane] += sums[lane + half];
            }
            half /= 2;
        }
        sums[0]
    })
}

/// Mean of a row, and one over the root of its variance.
#[inline(always)]
fn statistics(row: &[f32], epsilon: f32) -> (f32, f32) {
    let share = 1.0 / row.len() as f32;
    let [sum] = sums([row], |[x]| [x]);
    let mean = sum * share;
    let [squares] = sums([row], |[x]| [(x - mean) * (x - mean)]);
    (mean, 1.0 / (squares * share + epsilon).sqrt())
}

multiversioned! {
    fn forward(norm: &LayerNorm, input: &[f32], output: &mut [f32]) = forward_body
}

#[inline(always)]
fn forward_body(norm: &LayerNorm, input: &[f32], output: &mut [f32]) {
    let channels = norm.gamma.len();
    let rows = input.chunks_exact(channels);
    for (to, row) in output.chunks_exact_mut(channels).zip(rows) {
        let (mean, inverse) = statistics(row, norm.epsilon);
        let (gamma, beta) = (&norm.gamma[..channels], &norm.beta[..channels]);
        for c in 0..channels {
            to[c] = (row[c] - mean) * inverse * gamma[c] + beta[c];
        }
    }
}

multiversioned! {
    fn backward(
        norm: &LayerNorm,
        input: &[f32],
        gradient: &[f32],
        to: &mut [f32],
        parameters: &mut [f32],
    ) = backward_body
}

/// Adds the gradients of gamma, then of beta, to `parameters`.
#[inline(always)]
fn backward_body(
    norm: &LayerNorm,
    input: &[f32],
    gradient: &[f32],
    to: &mut [f32],
    parameters: &mut [f32],
) {
    let channels = norm.gamma.len();
    let share = 1.0 / channels as f32;
    let (to_gamma, to_beta) = parameters.split_at_mut(channels);
    let (to_gamma, to_beta) = (&mut to_gamma[..channels], &mut to_beta[..channels]);
    let gamma = &norm.gamma[..channels];
    let rows = input
        .chunks_exact(channels)
        .zip(gradient.chunks_exact(channels));
    for (to, (row, gradient)) in to.chunks_exact_mut(channels).zip(rows) {
        let (mean, inverse) = statistics(row, norm.epsilon);
        for c in 0..channels {
            let normal = (row[c] - mean) * inverse;
            to_gamma[c] += gradient[c] * normal;
            to_beta[c] += gradient[c];
            to[c] = normal;
        }
        let [constant, product] = sums([gradient, gamma, to], |[g, gamma, normal]| {
            [g * gamma, g * gamma * normal]
        })
        .map(|sum| sum * share);
        for c in 0..channels {
            to[c] = (gradient[c] * gamma[c] - constant - to[c] * product) * inverse;
        }
    }
}
