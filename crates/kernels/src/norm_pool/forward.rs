//! Normalization, residual, activation, pooling and dropout of an image in one pass.
//!
//! For each window and 16 channels at a time (two registers of AVX2, one of AVX-512): the maximum
//! and its place in the window, both by comparing and blending, without a branch; then
//! `(maximum - mean) * scale + shift` of this one value. Normalizing after the maximum takes a
//! quarter of the work for 2×2 windows and gives the same value, since normalizing is
//! monotonic: where gamma is negative, the smallest input is the largest output, hence the comparison
//! of `x * sign(gamma)`. Activations are monotonic as well, and follow in the same way. A residual
//! would not be: it is added only without pooling, which has a loop of its own.
//!
//! What the backward pass needs is written along the way: two bytes for each output with the place of
//! the maximum (and whether its gradient is blocked by dropout or activation), and the input at that
//! place. Without pooling there is no place, and the input is there anyway.

use crate::dropout::Dropout;
use crate::epilogue::{Activation, for_activation};
use crate::parallel::{self, Shared, share};
use crate::simd_level::{SimdLevel, multiversioned};

use super::shape::{NormPoolShape, Windows};
use super::state::{Affine, BLOCKED, Norm, NormPoolState};

/// What a [`norm_pool_forward`] does, in the order of the fields, the pooling of its
/// [`NormPool`](crate::NormPool) between activation and dropout. Each is optional.
#[derive(Debug, Clone, Copy, Default)]
pub struct NormPoolSteps<'a> {
    /// Batch normalization.
    pub norm: Option<Norm<'a>>,
    /// Added before the activation, of the input's shape. Only without pooling
    /// (`Pool2d::square(1)`).
    pub residual: Option<&'a [f32]>,
    /// Activation.
    pub activation: Activation,
    /// Dropout.
    pub dropout: Option<Dropout>,
}

/// Batch normalization, residual, activation, max-pooling and dropout in one pass (two with
/// [`Statistics::Batch`](crate::Statistics::Batch)): `output = dropout(pool(activation(norm(input) +
/// residual)))`.
///
/// - `input`: `[batch, height, width, channels]`
/// - `output`: `[batch, output rows, output columns, channels]`, overwritten
///
/// The maximum is of normalized values, so that a negative gamma is right; it is found before they
/// are rounded. Of equal maxima, the first in scan order counts. A NaN is the maximum where it is
/// first in its window, and is otherwise skipped.
///
/// # Panics
///
/// When a slice is not of the shape's length, or there is a residual and a pooling.
pub fn norm_pool_forward(
    shape: &NormPoolShape,
    steps: &NormPoolSteps,
    input: &[f32],
    output: &mut [f32],
    state: &mut NormPoolState,
) {
    assert_eq!(input.len(), shape.input_len(), "pool2d: input");
    assert_eq!(output.len(), shape.output_len(), "pool2d: output");
    if let Some(residual) = steps.residual {
        assert!(shape.pointwise(), "pool2d: a residual needs a window of 1");
        assert_eq!(residual.len(), shape.input_len(), "pool2d: residual");
    }
    let level = SimdLevel::current();
    let (norm, dropout) = (steps.norm.as_ref(), steps.dropout.as_ref());
    let affine = state.prepare(shape, level, norm, input);
    state.scale = dropout.map_or(1.0, Dropout::scale);
    let pointwise = shape.pointwise();
    let unblocked = steps.activation == Activation::Linear && dropout.is_none();
    let placed = if pointwise && unblocked {
        0
    } else {
        shape.image_out()
    };
    let kept = if norm.is_some() && !pointwise {
        shape.image_out()
    } else {
        0
    };
    state.argmax.resize(shape.batch * placed, 0);
    state.maxima.resize(shape.batch * kept, 0.0);

    let windows = shape.windows();
    let (image_in, image_out) = (shape.image_in(), shape.image_out());
    let (output, argmax, maxima) = (
        Shared::new(output),
        Shared::new(&mut state.argmax),
        Shared::new(&mut state.maxima),
    );
    parallel::tasks(
        parallel::threads_for(input.len()).min(shape.batch),
        |task, tasks| {
            let mut bits = Vec::new();
            for image in share(shape.batch, task, tasks) {
                let start = image * image_out;
                // SAFETY: each image is one task's.
                let mut to = unsafe {
                    Written {
                        output: output.slice(start, image_out),
                        argmax: argmax.slice(image * placed, placed),
                        maxima: maxima.slice(image * kept, kept),
                    }
                };
                let input = &input[image * image_in..][..image_in];
                if pointwise {
                    let residual = steps
                        .residual
                        .map(|residual| &residual[image * image_in..][..image_in]);
                    pointwise_image(level, steps.activation, &affine, input, residual, &mut to);
                } else {
                    forward_image(
                        level,
                        shape.channels,
                        &windows,
                        steps.activation,
                        &affine,
                        input,
                        &mut to,
                    );
                }
                if let Some(dropout) = dropout {
                    let first = dropout.draw(level, start, image_out, &mut bits);
                    drop_image(level, dropout, &bits[first..], to.output, to.argmax);
                }
            }
        },
    );
}

/// What the forward pass writes, of an image or a pixel.
struct Written<'a> {
    output: &'a mut [f32],
    argmax: &'a mut [u16],
    maxima: &'a mut [f32],
}

multiversioned! {
    fn forward_image(
        channels: usize,
        windows: &Windows,
        activation: Activation,
        affine: &Affine,
        input: &[f32],
        to: &mut Written,
    ) = forward_image_body
}

#[inline(always)]
fn forward_image_body(
    channels: usize,
    windows: &Windows,
    activation: Activation,
    affine: &Affine,
    input: &[f32],
    to: &mut Written,
) {
    for_activation!(activation, ACTIVATION => {
        let activate = |x| (ACTIVATION.apply(x), ACTIVATION.passes(ACTIVATION.apply(x)));
        walk_windows(channels, windows, activate, affine, input, to);
    });
}

/// All windows of an image; `activate` gives an output, and whether a gradient passes.
#[inline(always)]
fn walk_windows(
    channels: usize,
    windows: &Windows,
    activate: impl Fn(f32) -> (f32, bool) + Copy,
    affine: &Affine,
    input: &[f32],
    to: &mut Written,
) {
    let pixels = to
        .output
        .chunks_exact_mut(channels)
        .zip(to.argmax.chunks_exact_mut(channels));
    let mut maxima = to.maxima.chunks_exact_mut(channels);
    for ((first, offsets), (output, argmax)) in windows.iter().zip(pixels) {
        let input = &input[first..];
        let mut pixel = Written {
            output,
            argmax,
            maxima: maxima.next().unwrap_or_default(),
        };
        let mut channel = 0;
        while channel + 16 <= channels {
            forward_lanes::<16>(channel, offsets, activate, affine, input, &mut pixel);
            channel += 16;
        }
        while channel < channels {
            forward_lanes::<1>(channel, offsets, activate, affine, input, &mut pixel);
            channel += 1;
        }
    }
}

multiversioned! {
    fn pointwise_image(
        activation: Activation,
        affine: &Affine,
        input: &[f32],
        residual: Option<&[f32]>,
        to: &mut Written,
    ) = pointwise_image_body
}

/// Without pooling: `argmax` only tells what is blocked, and may be empty where nothing is.
#[inline(always)]
fn pointwise_image_body(
    activation: Activation,
    affine: &Affine,
    input: &[f32],
    residual: Option<&[f32]>,
    to: &mut Written,
) {
    let channels = affine.mean.len();
    let pixels = to
        .output
        .chunks_exact_mut(channels)
        .zip(input.chunks_exact(channels));
    let mut residual = residual.map(|residual| residual.chunks_exact(channels));
    let mut blocked = to.argmax.chunks_exact_mut(channels);
    for_activation!(activation, ACTIVATION => {
        for (output, input) in pixels {
            let residual = residual.as_mut().and_then(Iterator::next);
            pointwise_pixel(affine, input, residual, output);
            if let Some(blocked) = blocked.next() {
                for (output, blocked) in output.iter_mut().zip(blocked) {
                    *output = ACTIVATION.apply(*output);
                    *blocked = if ACTIVATION.passes(*output) { 0 } else { BLOCKED };
                }
            }
        }
    });
}

/// `(input - mean) * scale + shift + residual` of one pixel.
#[inline(always)]
fn pointwise_pixel(affine: &Affine, input: &[f32], residual: Option<&[f32]>, output: &mut [f32]) {
    let channels = output.len();
    let (mean, scale, shift) = (
        &affine.mean[..channels],
        &affine.scale[..channels],
        &affine.shift[..channels],
    );
    let input = &input[..channels];
    if let Some(residual) = residual {
        let residual = &residual[..channels];
        for c in 0..channels {
            output[c] = (input[c] - mean[c]) * scale[c] + shift[c] + residual[c];
        }
    } else {
        for c in 0..channels {
            output[c] = (input[c] - mean[c]) * scale[c] + shift[c];
        }
    }
}

/// `L` channels from `channel` on of one window.
#[inline(always)]
fn forward_lanes<const L: usize>(
    channel: usize,
    offsets: &[usize],
    activate: impl Fn(f32) -> (f32, bool),
    affine: &Affine,
    input: &[f32],
    to: &mut Written,
) {
    let sign = lanes::<L>(&affine.sign, channel);
    let mut maximum = lanes::<L>(input, offsets[0] + channel);
    let mut best = [0.0; L];
    for l in 0..L {
        best[l] = maximum[l] * sign[l];
    }
    let mut argmax = [0_u32; L];
    for (place, &offset) in offsets.iter().enumerate().skip(1) {
        let x = lanes::<L>(input, offset + channel);
        for l in 0..L {
            let key = x[l] * sign[l];
            let better = key > best[l];
            best[l] = if better { key } else { best[l] };
            maximum[l] = if better { x[l] } else { maximum[l] };
            argmax[l] = if better { place as u32 } else { argmax[l] };
        }
    }
    let (mean, scale, shift) = (
        lanes::<L>(&affine.mean, channel),
        lanes::<L>(&affine.scale, channel),
        lanes::<L>(&affine.shift, channel),
    );
    let output = &mut to.output[channel..channel + L];
    let mut blocked = [0_u32; L];
    for l in 0..L {
        let (value, passes) = activate((maximum[l] - mean[l]) * scale[l] + shift[l]);
        output[l] = value;
        blocked[l] = if passes { 0 } else { u32::from(BLOCKED) };
    }
    for l in 0..L {
        argmax[l] |= blocked[l];
    }
    to.argmax[channel..channel + L].copy_from_slice(&argmax.map(|place| place as u16));
    if let Some(maxima) = to.maxima.get_mut(channel..channel + L) {
        maxima.copy_from_slice(&maximum);
    }
}

/// `L` values from `start` on.
#[inline(always)]
pub(crate) fn lanes<const L: usize>(values: &[f32], start: usize) -> [f32; L] {
    *values[start..]
        .first_chunk()
        .expect("a window lies inside its image")
}

multiversioned! {
    fn drop_image(dropout: &Dropout, bits: &[u16], output: &mut [f32], argmax: &mut [u16]) = drop_image_body
}

#[inline(always)]
fn drop_image_body(dropout: &Dropout, bits: &[u16], output: &mut [f32], argmax: &mut [u16]) {
    let (threshold, scale) = (dropout.threshold(), dropout.scale());
    for ((output, place), &bits) in output.iter_mut().zip(argmax).zip(bits) {
        let dropped = u32::from(bits) < threshold;
        *output = if dropped { 0.0 } else { *output * scale };
        *place |= if dropped { BLOCKED } else { 0 };
    }
}
