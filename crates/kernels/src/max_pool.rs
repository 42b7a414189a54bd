//! Maxima of windows, where no gradient follows: nothing but the output is written.

use crate::norm_pool::{NormPoolShape, by_window, lanes};
use crate::simd_level::{SimdLevel, multiversioned};

/// Max-pooling.
///
/// - `input`: `[batch, height, width, channels]`
/// - `output`: `[batch, output rows, output columns, channels]`, overwritten
///
/// The values are those of [`norm_pool_forward`](crate::norm_pool_forward) without any of its other steps: a NaN is the
/// maximum where it is first in its window, and is otherwise skipped.
///
/// # Panics
///
/// When a slice is not of the shape's length.
pub fn max_pool_forward(shape: &NormPoolShape, input: &[f32], output: &mut [f32]) {
    assert_eq!(input.len(), shape.input_len(), "max pool: input");
    assert_eq!(output.len(), shape.output_len(), "max pool: output");
    let level = SimdLevel::current();
    by_window(shape, input, output, |input, offsets, to| {
        maximum(level, input, offsets, to);
    });
}

multiversioned! {
    fn maximum(input: &[f32], offsets: &[usize], to: &mut [f32]) = maximum_body
}

/// Maxima stay in registers: 32 channels at a time, then 8, then one.
#[inline(always)]
fn maximum_body(input: &[f32], offsets: &[usize], to: &mut [f32]) {
    let channels = to.len();
    let mut channel = 0;
    while channel + 32 <= channels {
        maximum_lanes::<32>(input, offsets, channel, to);
        channel += 32;
    }
    while channel + 8 <= channels {
        maximum_lanes::<8>(input, offsets, channel, to);
        channel += 8;
    }
    while channel < channels {
        maximum_lanes::<1>(input, offsets, channel, to);
        channel += 1;
    }
}

/// `L` channels from `channel` on.
#[inline(always)]
fn maximum_lanes<const L: usize>(input: &[f32], offsets: &[usize], channel: usize, to: &mut [f32]) {
    let mut maximum = lanes::<L>(input, offsets[0] + channel);
    for &offset in &offsets[1..] {
        let x = lanes::<L>(input, offset + channel);
        for l in 0..L {
            maximum[l] = if x[l] > maximum[l] { x[l] } else { maximum[l] };
        }
    }
    to[channel..channel + L].copy_from_slice(&maximum);
}
