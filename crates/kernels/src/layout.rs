//! Channels first to channels last.
//!
//! A transposition of each image, `[channels, pixels]` to `[pixels, channels]`. One side of it is
//! read or written with a stride, where every float touches another cache line; in blocks of 16 × 16
//! both sides' lines are used whole before they leave the L1 cache.

use crate::parallel::{self, Shared, share};

/// `[batch, channels, pixels]` to `[batch, pixels, channels]`.
///
/// # Panics
///
/// When a slice is not `batch * pixels * channels` long.
pub fn nchw_to_nhwc(batch: usize, pixels: usize, channels: usize, from: &[f32], to: &mut [f32]) {
    transpose(batch, channels, pixels, from, to);
}

/// Transposes each of `batch` matrices `[rows, columns]`.
fn transpose(batch: usize, rows: usize, columns: usize, from: &[f32], to: &mut [f32]) {
    /// Rows and columns at a time: both sides then stay in L1.
    const BLOCK: usize = 16;
    let length = rows
        .checked_mul(columns)
        .and_then(|length| length.checked_mul(batch).map(|_| length));
    let length = length.expect("a tensor that fits into memory");
    assert_eq!(from.len(), batch * length, "layout: input");
    assert_eq!(to.len(), batch * length, "layout: output");
    let to = Shared::new(to);
    parallel::tasks(
        parallel::threads_for(from.len()).min(batch),
        |task, tasks| {
            for image in share(batch, task, tasks) {
                let from = &from[image * length..][..length];
                // SAFETY: each image is one task's.
                let to = unsafe { to.slice(image * length, length) };
                for row in (0..rows).step_by(BLOCK) {
                    for column in (0..columns).step_by(BLOCK) {
                        for c in column..columns.min(column + BLOCK) {
                            for r in row..rows.min(row + BLOCK) {
                                to[c * rows + r] = from[r * columns + c];
                            }
                        }
                    }
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_convert_there_and_back() {
        let from: Vec<f32> = (0..3 * 35 * 19).map(|i| i as f32).collect();
        let (mut there, mut back) = (vec![0.0; from.len()], vec![0.0; from.len()]);
        // The other direction is the same transposition with the sizes exchanged.
        nchw_to_nhwc(3, 19, 35, &from, &mut there);
        assert_eq!(
            there[35 * 19 + 2 * 35..][..35],
            from[35 * 19 + 2..]
                .iter()
                .step_by(19)
                .take(35)
                .copied()
                .collect::<Vec<_>>()
        );
        nchw_to_nhwc(3, 35, 19, &there, &mut back);
        assert_eq!(back, from);
    }
}
