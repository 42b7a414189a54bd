//! Sums by channel, as exact as their inputs.
//!
//! Channels are neighbors in memory, so a sum by channel is a vector addition per pixel. f32 sums of
//! more than some hundred values lose digits: each image's pixels are summed 256 at a time in f32,
//! which is what the vector units are fast at, and these sums are added in f64.

use crate::parallel::{self, Shared, share};
use crate::simd_level::{SimdLevel, multiversioned};

use super::shape::NormPoolShape;

/// Pixels that are summed in f32 before the sum goes to f64.
const PIXELS: usize = 256;

/// Mean and variance (divided by the count: "biased") of each channel.
///
/// The sums are of differences from the first pixel, so that a mean far from zero costs no digits.
pub(super) fn mean_and_variance(
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
