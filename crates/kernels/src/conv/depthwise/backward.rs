//! The gradients of input, weights and bias in one pass over the gradient of the output.
//!
//! Each input pixel meets the outputs that it went into: every value of the output's gradient that
//! is loaded is multiplied by a weight for the input gradient and by the pixel for the weight
//! gradient. Input pixels are divided by their position within a stride ([`Residues`]), so that all
//! of a division have the same taps, and none is ever skipped.
//!
//! The gradient before the activation is written for a band of rows at a time into a buffer that
//! stays in the L2 cache, with zeros around it where taps reach beyond the output. Rows that two
//! bands share are moved, not made again.

use std::ops::Range;

use crate::parallel::{Scratch, Shared, share};
use crate::simd_level::SimdLevel;

use super::micro::{Depthwise, Gradients, MOST_TAPS, Tap};
use super::transpose_weights;
use crate::conv::geometry::{AxisSizes, axis_sizes};
use crate::conv::output_gradient::{Conv2dGradients, ImageGradient, OutputGradient, add_shares};
use crate::conv::plan::Split;
use crate::conv::shape::Conv2dShape;

/// Bytes of input, its gradient and the output's gradient to work on at a time: they stay in a 1 MiB
/// L2 cache.
const BAND_BYTES: usize = 384 * 1024;

/// The inputs of one axis, divided by their position within a stride: input `residue + stride · j`
/// meets output `j + offset` through each tap.
struct Residues {
    /// For each residue: (tap, offset) of every tap that meets some output.
    taps: Vec<Vec<(usize, isize)>>,
    /// Values of `j`.
    steps: usize,
    /// Least and greatest offset.
    lowest: isize,
    highest: isize,
}

impl Residues {
    fn new(sizes: AxisSizes) -> Self {
        let steps = sizes.input.div_ceil(sizes.stride);
        let stride = sizes.stride.cast_signed();
        let offset = |residue: usize, tap: usize| {
            let distance =
                (residue + sizes.padding).cast_signed() - (tap * sizes.dilation).cast_signed();
            let offset = distance.div_euclid(stride);
            let met = offset < sizes.output.cast_signed() && offset + steps.cast_signed() > 0;
            (distance.rem_euclid(stride) == 0 && met).then_some((tap, offset))
        };
        let taps: Vec<Vec<(usize, isize)>> = (0..sizes.stride.min(sizes.input))
            .map(|residue| {
                (0..sizes.kernel)
                    .filter_map(|tap| offset(residue, tap))
                    .collect()
            })
            .collect();
        let offsets = || taps.iter().flatten().map(|&(_, offset)| offset);
        Self {
            lowest: offsets().min().unwrap_or(0),
            highest: offsets().max().unwrap_or(0),
            steps,
            taps,
        }
    }
}

/// Rows that are worked on at a time.
#[derive(Debug, Clone)]
struct Band {
    /// Steps down: each is a stride of input rows.
    steps: Range<usize>,
    /// Rows of the output's gradient that are in the buffer; some lie outside the output.
    rows: Range<isize>,
}

/// Input pixels with the same taps.
struct Division {
    /// First row and column.
    first: [usize; 2],
    /// At most [`MOST_TAPS`] each; at least one, which may be empty.
    passes: Vec<Vec<Tap>>,
}

/// How the passes walk an image.
struct Walk {
    bands: Vec<Band>,
    divisions: Vec<Division>,
    /// Column of the output that the buffer's first column is: 0, or negative.
    before: isize,
    /// Columns of the buffer.
    width: usize,
    /// Least offset down: where taps' rows are counted from.
    lowest: isize,
    /// Steps across.
    across: usize,
}

impl Walk {
    fn new(shape: &Conv2dShape) -> Self {
        let [down, across] = [0, 1].map(|axis| Residues::new(axis_sizes(shape, axis)));
        let [height, width] = shape.output();
        let before = across.lowest.min(0);
        let last = (across.steps.cast_signed() - 1 + across.highest).max(width.cast_signed() - 1);
        let buffer_width = (last - before + 1).cast_unsigned();
        let tap = |(ky, y): (usize, isize), (kx, x): (usize, isize)| {
            let (row, column) = (
                (y - down.lowest).cast_unsigned(),
                (x - before).cast_unsigned(),
            );
            Tap {
                source: (row * buffer_width + column) * shape.channels,
                weights: (ky * shape.kernel[1] + kx) * shape.channels,
            }
        };
        let mut divisions = Vec::new();
        for (row, of_row) in down.taps.iter().enumerate() {
            for (column, of_column) in across.taps.iter().enumerate() {
                let taps: Vec<Tap> = of_row
                    .iter()
                    .flat_map(|&y| of_column.iter().map(move |&x| tap(y, x)))
                    .collect();
                let passes = taps.len().div_ceil(MOST_TAPS).max(1);
                divisions.push(Division {
                    first: [row, column],
                    passes: (0..passes)
                        .map(|pass| taps[share(taps.len(), pass, passes)].to_vec())
                        .collect(),
                });
            }
        }
        let per_step =
            (buffer_width + 2 * shape.width * shape.stride[0]) * shape.channels * size_of::<f32>();
        let count = down.steps.div_ceil((BAND_BYTES / per_step).max(1));
        let band = |index: usize| {
            let steps = share(down.steps, index, count);
            let (start, end) = (steps.start.cast_signed(), steps.end.cast_signed());
            let (first, last) = (index == 0, index + 1 == count);
            // All rows of the output belong to some band, for the sake of the bias.
            let from = start + down.lowest;
            let to = end + down.highest;
            Band {
                steps,
                rows: (if first { from.min(0) } else { from })..(if last {
                    to.max(height.cast_signed())
                } else {
                    to
                }),
            }
        };
        Self {
            bands: (0..count).map(band).collect(),
            divisions,
            before,
            width: buffer_width,
            lowest: down.lowest,
            across: across.steps,
        }
    }

    /// Floats of the buffer.
    fn buffer(&self, channels: usize) -> usize {
        let rows = self.bands.iter().map(|band| band.rows.len()).max();
        rows.unwrap_or(0) * self.width * channels
    }
}

/// [`conv2d_backward`](crate::conv2d_backward) of a depthwise convolution; the slices have the
/// shape's lengths.
pub(in crate::conv) fn depthwise_backward(
    shape: &Conv2dShape,
    input: &[f32],
    weights: &[f32],
    gradient: &OutputGradient,
    gradients: Conv2dGradients,
) {
    let level = SimdLevel::current();
    let kernels = Depthwise::of(level);
    let channels = shape.channels;
    let weights = transpose_weights(shape, weights);
    let walk = Walk::new(shape);
    let blocks = channels.div_ceil(kernels.lanes);
    let split = Split::new(
        input.len() + shape.output_len(),
        weights.len(),
        shape.batch,
        blocks,
    );
    let mut weight_sums = Scratch::zeros(weights.len() * split.images);
    let mut bias_sums = vec![0.0_f64; channels * split.images];
    let (all_weight_sums, all_bias_sums) =
        (Shared::new(&mut weight_sums), Shared::new(&mut bias_sums));
    let to_input = gradients.input.map(Shared::new);
    let image_in = input.len() / shape.batch;
    split.run(|task| {
        let part = task.part_of(blocks);
        let channel = part.start * kernels.lanes;
        let count = (part.end * kernels.lanes).min(channels) - channel;
        let mut image_sums = Scratch::any(channels);
        let mut buffer = Scratch::any(walk.buffer(channels));
        // Where nobody wants the input gradient, one pixel takes it.
        let mut unwanted = Scratch::zeros(channels);
        for image in task.images.clone() {
            let (to, step) = match &to_input {
                Some(to) => (to.pointer(image * image_in), 1),
                None => (unwanted.as_mut_ptr(), 0),
            };
            let pass = ImagePass {
                shape,
                kernels: &kernels,
                walk: &walk,
                weights: weights[channel..].as_ptr(),
                sums: all_weight_sums.pointer(task.index * weights.len() + channel),
                input: input[image * image_in + channel..].as_ptr(),
                to_input: to.wrapping_add(channel),
                to_input_step: step,
                first_channel: channel,
                channels: count,
            };
            image_sums.fill(0.0);
            let gradient = gradient.image(level, shape, image);
            // SAFETY: tasks have different images or channels, and sums of their own.
            unsafe { pass.run(&gradient, &mut buffer, &mut image_sums) }
            if task.part == 0 {
                // SAFETY: of the tasks with these images, only this one is part 0.
                let sums = unsafe { all_bias_sums.slice(task.index * channels, channels) };
                sums.iter_mut()
                    .zip(image_sums.iter())
                    .for_each(|(total, &sum)| *total += f64::from(sum));
            }
        }
    });
    if let Some(to) = gradients.weights {
        let taps = shape.taps();
        for (channel, to) in to.chunks_exact_mut(taps).enumerate() {
            for (tap, to) in to.iter_mut().enumerate() {
                let copies = weight_sums[tap * channels + channel..]
                    .iter()
                    .step_by(weights.len());
                *to = copies.sum();
            }
        }
    }
    if let Some(to) = gradients.bias {
        add_shares(&bias_sums, to);
    }
}

/// Some channels of one image; pointers are to the first of these.
struct ImagePass<'a> {
    shape: &'a Conv2dShape,
    kernels: &'a Depthwise,
    walk: &'a Walk,
    weights: *const f32,
    sums: *mut f32,
    input: *const f32,
    to_input: *mut f32,
    /// 1, or 0 where all pixels are written to one.
    to_input_step: usize,
    first_channel: usize,
    channels: usize,
}

impl ImagePass<'_> {
    /// Computes all gradients of the image, those of the bias into `sums`.
    ///
    /// # Safety
    ///
    /// No other task may write the same channels of the same image, or the same sums.
    unsafe fn run(&self, gradient: &ImageGradient, buffer: &mut [f32], sums: &mut [f32]) {
        let channels = self.shape.channels;
        let row = self.walk.width * channels;
        let mut filled: Option<Range<isize>> = None;
        for band in &self.walk.bands {
            let start = match filled {
                Some(filled) => {
                    let shared = (band.rows.start - filled.start).cast_unsigned()
                        ..(filled.end - filled.start).cast_unsigned();
                    buffer.copy_within(shared.start * row..shared.end * row, 0);
                    filled.end
                }
                None => band.rows.start,
            };
            for y in start..band.rows.end {
                let at = (y - band.rows.start).cast_unsigned() * row;
                self.fill_row(gradient, y, &mut buffer[at..at + row], sums);
            }
            // SAFETY: passed on; the band's rows are in the buffer.
            unsafe { self.run_band(band, buffer) }
            filled = Some(band.rows.clone());
        }
    }

    /// Writes row `y` of the gradient, which may lie outside the output, with the zeros around it.
    fn fill_row(&self, gradient: &ImageGradient, y: isize, to: &mut [f32], sums: &mut [f32]) {
        let [height, width] = self.shape.output();
        let Some(y) = usize::try_from(y).ok().filter(|&y| y < height) else {
            to.fill(0.0);
            return;
        };
        let channels = self.shape.channels;
        let (before, rest) = to.split_at_mut(self.walk.before.unsigned_abs() * channels);
        let (to, after) = rest.split_at_mut(width * channels);
        before.fill(0.0);
        after.fill(0.0);
        gradient.write_row(y, to, sums);
    }

    /// Computes the gradients of one band, whose rows of the output's gradient are in `buffer`.
    ///
    /// # Safety
    ///
    /// As [`ImagePass::run`].
    unsafe fn run_band(&self, band: &Band, buffer: &[f32]) {
        let channels = self.shape.channels;
        let (stride, row) = (self.shape.stride, self.shape.width * channels);
        let buffer_row = self.walk.width * channels;
        let base =
            (band.steps.start.cast_signed() + self.walk.lowest - band.rows.start).cast_unsigned();
        for division in &self.walk.divisions {
            let first = [
                division.first[0] + band.steps.start * stride[0],
                division.first[1],
            ];
            let count = [
                (self.shape.height.saturating_sub(first[0]))
                    .div_ceil(stride[0])
                    .min(band.steps.len()),
                (self.shape.width - first[1])
                    .div_ceil(stride[1])
                    .min(self.walk.across),
            ];
            if count[0] == 0 {
                continue;
            }
            let at = first[0] * row + first[1] * channels;
            let step = [stride[0] * row, stride[1] * channels];
            for (pass, taps) in division.passes.iter().enumerate() {
                let all = Gradients {
                    count,
                    input: self.input.wrapping_add(at),
                    input_step: step,
                    gradient: buffer[base * buffer_row + self.first_channel..].as_ptr(),
                    gradient_step: [buffer_row, channels],
                    taps,
                    weights: self.weights,
                    to_input: self.to_input.wrapping_add(at * self.to_input_step),
                    to_input_step: step.map(|step| step * self.to_input_step),
                    accumulate: pass > 0,
                    sums: self.sums,
                    channels: self.channels,
                };
                // SAFETY: the division's pixels lie in the image, and their taps in the buffer; the
                // caller promises that nobody else writes there.
                unsafe { self.kernels.gradients(&all) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divisions_meet_the_outputs_that_the_forward_pass_meets() {
        for (input, kernel, stride, dilation, padding) in [
            (7, 3, 1, 1, 1),
            (9, 3, 2, 1, 0),
            (8, 2, 3, 2, 2),
            (1, 1, 1, 1, 3),
            (2, 5, 4, 1, 2),
        ] {
            let output = (input + 2 * padding - (kernel - 1) * dilation - 1) / stride + 1;
            let sizes = AxisSizes {
                input,
                output,
                kernel,
                stride,
                dilation,
                padding,
            };
            let residues = Residues::new(sizes);
            let mut found = Vec::new();
            for (residue, taps) in residues.taps.iter().enumerate() {
                for j in 0..residues.steps {
                    let i = residue + j * stride;
                    for &(tap, offset) in taps.iter().filter(|_| i < input) {
                        let o = j.cast_signed() + offset;
                        if (0..output.cast_signed()).contains(&o) {
                            found.push((o.cast_unsigned(), tap, i));
                        }
                    }
                }
            }
            found.sort_unstable();
            let expected: Vec<_> = (0..output)
                .flat_map(|o| (0..kernel).map(move |k| (o, k)))
                .filter_map(|(o, k)| Some((o, k, sizes.input_at(o, k)?)))
                .collect();
            assert_eq!(found, expected);
        }
    }
}
