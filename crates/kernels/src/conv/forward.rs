//! The forward pass: one matrix product per image, without a copy of its windows.
//!
//! With channels last, the window of an output pixel is a few contiguous stretches of the input, one
//! for each kernel row, and the window of the next pixel is the same shifted by the stride. So the
//! left operand of the product is the input itself, read where it lies ([`Plan`]); the right one is
//! the packed weights ([`pack`](super::pack)). Only where padding must be in the input as zeros, a
//! group of images small enough for the L2 cache is copied first. Bias, residual and activation
//! are applied to a tile while it is in registers.

use crate::epilogue::Epilogue;
use crate::micro::Kernels;
use crate::parallel::{Scratch, Shared};
use crate::simd_level::SimdLevel;

use super::depthwise::{depthwise_forward, is_depthwise};
use super::geometry::ConvGeometry;
use super::pack::{Panels, forward_panels, pack_forward};
use super::plan::{Plan, Split, Weights};
use super::shape::Conv2dShape;

/// Convolution (cross-correlation) with bias, residual and activation: `output = activation(input ⋆
/// weights + bias + residual)`.
///
/// - `input`: `[batch, height, width, channels]`
/// - `weights`: `[filters, channels / groups, kernel rows, kernel columns]`
/// - `epilogue`: bias `[filters]`, residual of the output's shape
/// - `output`: `[batch, output rows, output columns, filters]`, overwritten
///
/// # Panics
///
/// When a slice is not of the shape's length.
pub fn conv2d_forward(
    shape: &Conv2dShape,
    input: &[f32],
    weights: &[f32],
    epilogue: &Epilogue,
    output: &mut [f32],
) {
    assert_eq!(weights.len(), shape.weights_len(), "conv2d: weights");
    assert_eq!(input.len(), shape.input_len(), "conv2d: input");
    assert_eq!(output.len(), shape.output_len(), "conv2d: output");
    if let Some(residual) = epilogue.residual {
        assert_eq!(residual.len(), shape.output_len(), "conv2d: residual");
    }
    if let Some(bias) = epilogue.bias {
        assert_eq!(bias.len(), shape.filters, "conv2d: bias");
    }
    if is_depthwise(shape) {
        return depthwise_forward(shape, input, weights, epilogue, output);
    }
    let kernels = &Kernels::of(SimdLevel::current());
    let panels = &forward_panels(shape, kernels);
    let mut packed = Scratch::any(panels.len());
    pack_forward(shape, panels, weights, &mut packed);
    let bias = epilogue.bias.map(|bias| pad_bias(bias, panels));
    let weights = Weights {
        panels,
        packed: &packed,
        bias: bias.as_deref(),
        residual: epilogue.residual,
        activation: epilogue.activation,
    };

    let geometry = ConvGeometry::forward(shape);
    let split = Split::new(
        input.len() + output.len(),
        packed.len(),
        shape.batch,
        panels.count(),
    );
    let plan = Plan::new(&geometry, kernels, shape.batch.div_ceil(split.images));
    let image_in = input.len() / shape.batch;
    let output = Shared::new(output);
    split.run(|task| {
        let images = &task.images;
        let range = task.part_of(panels.count());
        let group = plan.group(kernels, images.len());
        let mut buffer = Scratch::any(if plan.buffered {
            group * plan.layout.image
        } else {
            0
        });
        for first in images.clone().step_by(group) {
            let count = group.min(images.end - first);
            let source = &input[first * image_in..(first + count) * image_in];
            let source = if plan.buffered {
                geometry.pad(source, plan.layout, &mut buffer);
                &buffer
            } else {
                source
            };
            // SAFETY: tasks write different images or panels.
            unsafe {
                plan.run(
                    kernels,
                    source,
                    &weights,
                    range.clone(),
                    output,
                    (first, count),
                );
            }
        }
    });
}

/// The bias of each group, filled up to whole vectors.
fn pad_bias(bias: &[f32], panels: &Panels) -> Scratch {
    let mut padded = Scratch::zeros(panels.padded * panels.groups);
    for (to, from) in padded
        .chunks_exact_mut(panels.padded)
        .zip(bias.chunks_exact(panels.columns))
    {
        to[..panels.columns].copy_from_slice(from);
    }
    padded
}
