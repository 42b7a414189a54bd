//! Softmax over the last axis.

use crate::elementwise::{exp, is_fused};
use crate::parallel::{self, Shared, share};
use crate::simd_level::{SimdLevel, multiversioned};

/// Softmax of each row of `input`, `[rows, columns]`, to `output`: `exp(x - max) / Σ exp(x - max)`.
///
/// Where the maximum is infinite or a number is NaN, what comes out is NaN.
///
/// # Panics
///
/// When there are no columns, or a slice is not some rows of that length.
pub fn softmax_forward(columns: usize, input: &[f32], output: &mut [f32]) {
    assert!(
        columns > 0 && input.len().is_multiple_of(columns),
        "softmax: input"
    );
    assert_eq!(output.len(), input.len(), "softmax: output");
    let level = SimdLevel::current();
    let rows = input.len() / columns;
    let output = Shared::new(output);
    parallel::tasks(
        parallel::threads_for(input.len()).min(rows),
        |task, tasks| {
            let rows = share(rows, task, tasks);
            let (start, length) = (rows.start * columns, rows.len() * columns);
            // SAFETY: each row is one task's.
            let output = unsafe { output.slice(start, length) };
            let input = &input[start..start + length];
            if is_fused(level) {
                forward_fused(level, columns, input, output);
            } else {
                forward_unfused(level, columns, input, output);
            }
        },
    );
}

multiversioned! {
    fn forward_fused(columns: usize, input: &[f32], output: &mut [f32]) = forward_body::<true>
}

multiversioned! {
    fn forward_unfused(columns: usize, input: &[f32], output: &mut [f32]) = forward_body::<false>
}

/// Partial maxima and sums, so that the compiler keeps them in a vector.
const LANES: usize = 16;

#[inline(always)]
fn forward_body<const F: bool>(columns: usize, input: &[f32], output: &mut [f32]) {
    for (row, output) in input
        .chunks_exact(columns)
        .zip(output.chunks_exact_mut(columns))
    {
        let mut maxima = [f32::NEG_INFINITY; LANES];
        let (parts, rest) = row.as_chunks::<LANES>();
        for part in parts {
            for (most, &x) in maxima.iter_mut().zip(part) {
                *most = if x > *most { x } else { *most };
            }
        }
        let all = maxima.iter().chain(rest);
        let most = all.fold(
            f32::NEG_INFINITY,
            |most, &x| if x > most { x } else { most },
        );
        let mut sums = [0.0_f32; LANES];
        let (to_parts, to_rest) = output.as_chunks_mut::<LANES>();
        for (to, part) in to_parts.iter_mut().zip(parts) {
            for ((to, sum), &x) in to.iter_mut().zip(&mut sums).zip(part) {
                *to = exp::<F>(x - most);
                *sum += *to;
            }
        }
        for (to, &x) in to_rest.iter_mut().zip(rest) {
            *to = exp::<F>(x - most);
        }
        let sum: f32 = sums.iter().chain(&*to_rest).sum();
        let factor = 1.0 / sum;
        for to in output {
            *to *= factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn softmax(columns: usize, input: &[f32]) -> Vec<f32> {
        let mut output = vec![0.0; input.len()];
        softmax_forward(columns, input, &mut output);
        output
    }

    #[test]
    fn what_is_no_number_gives_none() {
        for level in SimdLevel::available() {
            SimdLevel::scope(level, || {
                assert_eq!(softmax(2, &[3e38, -3e38, 0.0, 0.0]), [1.0, 0.0, 0.5, 0.5]);
                for bad in [f32::NAN, f32::INFINITY] {
                    assert!(softmax(2, &[bad, 0.0]).iter().any(|x| x.is_nan()));
                }
                let masked = softmax(3, &[f32::NEG_INFINITY, 1.0, 1.0]);
                assert_eq!(masked, [0.0, 0.5, 0.5]);
                assert!(softmax(1, &[f32::NEG_INFINITY])[0].is_nan());
            });
        }
    }

    proptest! {
        #[test]
        fn it_is_that_of_f64(rows in 1_usize..5, columns in 1_usize..70, seed in 0_u32..1000) {
            let input: Vec<f32> = (0..rows * columns)
                .map(|at| ((at as u32 * 7919 + seed * 31) % 2003) as f32 / 50.0 - 20.0)
                .collect();
            for level in SimdLevel::available() {
                let found = SimdLevel::scope(level, || softmax(columns, &input));
                for (row, found) in input.chunks_exact(columns).zip(found.chunks_exact(columns)) {
                    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    let powers: Vec<f64> = row.iter().map(|&x| f64::from(x - most).exp()).collect();
                    let sum: f64 = powers.iter().sum();
                    for (found, power) in found.iter().zip(&powers) {
                        let expected = power / sum;
                        prop_assert!((f64::from(*found) - expected).abs() <= 2e-6 * expected, "{} {}", found, expected);
                    }
                }
            }
        }
    }
}
