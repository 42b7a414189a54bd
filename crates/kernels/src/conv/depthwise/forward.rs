//! The forward pass: outputs of a row that have the same taps, some at a time.
//!
//! Taps that fall on padding are left out. The kernels for windows of common sizes do so themselves;
//! for others, a row of outputs is divided into [`Run`]s of neighbors whose taps lie alike.

use std::ops::Range;

use crate::epilogue::Activation;
use crate::parallel::{LIGHT, Scratch, Shared, share};
use crate::simd_level::SimdLevel;

use super::micro::{Depthwise, Gather, Tap, Window};
use super::transpose_weights;
use crate::conv::geometry::{Axis, axis_sizes};
use crate::conv::plan::Split;
use crate::conv::shape::Conv2dShape;

/// Neighboring outputs whose taps are the same, each a stride further.
struct Run {
    first: usize,
    count: usize,
    /// Into the taps of all runs.
    taps: Range<usize>,
}

/// The runs of each output row.
struct Runs {
    rows: Vec<Vec<Run>>,
    taps: Vec<Tap>,
    /// Set where the windows of a whole row slide: it is then one run.
    window: Option<Window>,
}

impl Runs {
    fn new(shape: &Conv2dShape) -> Self {
        let [down, across] = [0, 1].map(|axis| Axis::forward(axis_sizes(shape, axis)));
        let channels = shape.channels;
        let window = Window::new(across.kernel, shape.stride[1]).filter(|_| shape.dilation[1] == 1);
        let columns = match window {
            Some(_) => vec![(0, across.taps.len())],
            None => alike(&across, shape.stride[1]),
        };
        let mut taps = Vec::new();
        let rows = down.taps.iter().map(|down| {
            let run = |&(first, count): &(usize, usize)| {
                let start = taps.len();
                let tap = |(ky, y): (usize, usize), (kx, x): (usize, usize)| Tap {
                    source: (y * shape.width + x) * channels,
                    weights: (ky * shape.kernel[1] + kx) * channels,
                };
                for &down in down {
                    match window {
                        Some(_) => taps.push(tap(down, (0, 0))),
                        None => {
                            taps.extend(across.taps[first].iter().map(|&across| tap(down, across)));
                        }
                    }
                }
                Run {
                    first,
                    count,
                    taps: start..taps.len(),
                }
            };
            columns.iter().map(run).collect()
        });
        Self {
            rows: rows.collect(),
            taps,
            window,
        }
    }
}

/// Which columns of the input, from output `output`'s first on, are inside the image.
fn inside(shape: &Conv2dShape, output: usize, columns: usize) -> u32 {
    let bit = |column: usize| {
        (output * shape.stride[1] + column)
            .checked_sub(shape.padding[1])
            .is_some_and(|column| column < shape.width)
    };
    (0..columns)
        .filter(|&column| bit(column))
        .fold(0, |bits, column| bits | 1 << column)
}

/// The outputs of an axis in stretches (first, count) of equal taps, each `stride` further.
fn alike(axis: &Axis, stride: usize) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (output, taps) in axis.taps.iter().enumerate() {
        let further = |(first, count): (usize, usize)| {
            let known = axis.taps[first]
                .iter()
                .map(|&(k, source)| (k, source + count * stride));
            known.eq(taps.iter().copied())
        };
        match runs.last_mut() {
            Some(run) if further(*run) => run.1 += 1,
            _ => runs.push((output, 1)),
        }
    }
    runs
}

/// A depthwise convolution, its weights transposed and its windows listed.
pub(in crate::conv) struct PreparedDepthwise {
    kernels: Depthwise,
    /// `[tap][channel]`.
    weights: Scratch,
    bias: Option<Vec<f32>>,
    runs: Runs,
}

impl PreparedDepthwise {
    /// Prepares a depthwise shape; the slices have its lengths.
    pub(in crate::conv) fn new(shape: &Conv2dShape, weights: &[f32], bias: Option<&[f32]>) -> Self {
        Self {
            kernels: Depthwise::of(SimdLevel::current()),
            weights: transpose_weights(shape, weights),
            bias: bias.map(<[f32]>::to_vec),
            runs: Runs::new(shape),
        }
    }

    /// Computes the same shape; the slices have its lengths.
    pub(in crate::conv) fn forward(
        &self,
        shape: &Conv2dShape,
        input: &[f32],
        residual: Option<&[f32]>,
        activation: Activation,
        output: &mut [f32],
    ) {
        let Self {
            kernels,
            weights,
            bias,
            runs,
        } = self;
        let channels = shape.channels;
        let blocks = channels.div_ceil(kernels.lanes);
        // A kernel of one tap scales and shifts: next to nothing.
        let activations = input.len() + output.len();
        let work = if shape.taps() == 1 {
            activations / LIGHT
        } else {
            activations
        };
        let split = Split::new(work, weights.len(), shape.batch, blocks);
        let image_in = input.len() / shape.batch;
        let row_out = shape.output()[1] * channels;
        let output = Shared::new(output);
        split.run(|task| {
            let part = task.part_of(blocks);
            let channel = part.start * kernels.lanes;
            let count = (part.end * kernels.lanes).min(channels) - channel;
            let bias = bias
                .as_ref()
                .map_or(std::ptr::null(), |bias| bias[channel..].as_ptr());
            for image in task.images.clone() {
                let source = &input[image * image_in..][..image_in];
                for (row, of_row) in runs.rows.iter().enumerate() {
                    let start = (image * runs.rows.len() + row) * row_out;
                    for run in of_row {
                        let tiles = run.count.div_ceil(kernels.outputs());
                        for tile in 0..tiles {
                            let range = share(run.count, tile, tiles);
                            let (stride, outputs) = (shape.stride[1], range.len());
                            let mut source_at = (range.start * stride * channels).cast_signed();
                            let window = runs.window.map(|window| {
                                source_at -= (shape.padding[1] * channels).cast_signed();
                                let columns = (outputs - 1) * stride + shape.kernel[1];
                                Window {
                                    inside: inside(shape, range.start, columns),
                                    ..window
                                }
                            });
                            let at = start + (run.first + range.start) * channels + channel;
                            let residual = residual
                                .map_or(std::ptr::null(), |residual| residual[at..].as_ptr());
                            // SAFETY: the runs' taps lie in the image, of which channels `channel ..+
                            // count` of a pixel are this task's; slices have the shape's lengths.
                            unsafe {
                                let gather = Gather {
                                    source: source
                                        .as_ptr()
                                        .wrapping_offset(source_at)
                                        .wrapping_add(channel),
                                    source_step: stride * channels,
                                    taps: &runs.taps[run.taps.clone()],
                                    window,
                                    weights: weights.as_ptr().add(channel),
                                    bias,
                                    residual,
                                    activation,
                                    target: output.pointer(at),
                                    target_step: channels,
                                    channels: count,
                                };
                                kernels.gather(outputs, &gather);
                            }
                        }
                    }
                }
            }
        });
    }
}
