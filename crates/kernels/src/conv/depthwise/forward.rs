//! The forward pass: outputs of a row that have the same taps, some at a time.
//!
//! Taps that fall on padding are left out: a row of outputs is a few [`Run`]s of neighbors whose
//! windows lie alike, one of them almost all of the row.

use std::ops::Range;

use crate::epilogue::Epilogue;
use crate::parallel::{Shared, share};
use crate::simd_level::SimdLevel;

use super::micro::{Depthwise, Gather, Tap};
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
}

impl Runs {
    fn new(shape: &Conv2dShape) -> Self {
        let [down, across] = [0, 1].map(|axis| Axis::forward(axis_sizes(shape, axis)));
        let channels = shape.channels;
        let mut taps = Vec::new();
        let columns = alike(&across, shape.stride[1]);
        let rows = down.taps.iter().map(|down| {
            let run = |&(first, count): &(usize, usize)| {
                let start = taps.len();
                taps.extend(down.iter().flat_map(|&(ky, y)| {
                    across.taps[first].iter().map(move |&(kx, x)| Tap {
                        source: (y * shape.width + x) * channels,
                        weights: (ky * shape.kernel[1] + kx) * channels,
                    })
                }));
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
        }
    }
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

/// [`conv2d_forward`](crate::conv2d_forward) of a depthwise convolution; the slices have the shape's
/// lengths.
pub(in crate::conv) fn depthwise_forward(
    shape: &Conv2dShape,
    input: &[f32],
    weights: &[f32],
    epilogue: &Epilogue,
    output: &mut [f32],
) {
    let kernels = Depthwise::of(SimdLevel::current());
    let channels = shape.channels;
    let weights = transpose_weights(shape, weights);
    let runs = Runs::new(shape);
    let blocks = channels.div_ceil(kernels.lanes);
    let split = Split::new(
        input.len() + output.len(),
        weights.len(),
        shape.batch,
        blocks,
    );
    let image_in = input.len() / shape.batch;
    let row_out = shape.output()[1] * channels;
    let output = Shared::new(output);
    split.run(|task| {
        let part = task.part_of(blocks);
        let channel = part.start * kernels.lanes;
        let count = (part.end * kernels.lanes).min(channels) - channel;
        let bias = epilogue
            .bias
            .map_or(std::ptr::null(), |bias| bias[channel..].as_ptr());
        for image in task.images.clone() {
            let source = &input[image * image_in..][..image_in];
            for (row, of_row) in runs.rows.iter().enumerate() {
                let start = (image * runs.rows.len() + row) * row_out;
                for run in of_row {
                    let tiles = run.count.div_ceil(kernels.outputs());
                    for tile in 0..tiles {
                        let range = share(run.count, tile, tiles);
                        let source_at = range.start * shape.stride[1] * channels + channel;
                        let at = start + (run.first + range.start) * channels + channel;
                        let residual = epilogue
                            .residual
                            .map_or(std::ptr::null(), |residual| residual[at..].as_ptr());
                        // SAFETY: the runs' taps lie in the image, of which channels `channel ..+
                        // count` of a pixel are this task's; slices have the shape's lengths.
                        unsafe {
                            let gather = Gather {
                                source: source.as_ptr().wrapping_add(source_at),
                                source_step: shape.stride[1] * channels,
                                taps: &runs.taps[run.taps.clone()],
                                weights: weights.as_ptr().add(channel),
                                bias,
                                residual,
                                activation: epilogue.activation,
                                target: output.pointer(at),
                                target_step: channels,
                                channels: count,
                            };
                            kernels.gather(range.len(), &gather);
                        }
                    }
                }
            }
        }
    });
}
