use super::pack::pack_forward;
use super::panels::{self, Panels};
use super::plan::{Plan, Weights};
use super::problem::Problem;
use super::shape::Conv2dShape;
use super::split::Split;
use crate::level::Level;
use crate::micro::Kernels;
use crate::parallel::Shared;
use crate::scratch::Scratch;

/// What follows a convolution or dense layer's sum in the same pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Activation {
    /// Nothing.
    #[default]
    Linear,
    /// `max(x, 0)`; NaN stays NaN.
    Relu,
}

/// Weights in the order in which the kernels read them: pack once where they do not change between
/// calls.
#[derive(Debug, Clone)]
pub struct PackedFilters {
    level: Level,
    panels: Panels,
    packed: Vec<f32>,
}

impl PackedFilters {
    /// Packs `weights` `[filters, channels / groups, kernel rows, kernel columns]` at the current
    /// [`Level`].
    ///
    /// # Panics
    ///
    /// When the weights are not of the shape's length.
    pub fn new(shape: &Conv2dShape, weights: &[f32]) -> Self {
        assert_eq!(weights.len(), shape.weights_len(), "conv2d: weights");
        let level = Level::current();
        let panels = panels::forward(shape, &Kernels::of(level));
        let mut packed = vec![0.0; panels.len()];
        pack_forward(shape, &panels, weights, &mut packed);
        Self {
            level,
            panels,
            packed,
        }
    }
}

/// Convolution (cross-correlation) with bias and activation: `output = activation(input ⋆ weights +
/// bias)`.
///
/// - `input`: `[batch, height, width, channels]`
/// - `weights`: `[filters, channels / groups, kernel rows, kernel columns]`
/// - `bias`: `[filters]`, if any
/// - `output`: `[batch, output rows, output columns, filters]`, overwritten
///
/// # Panics
///
/// When a slice is not of the shape's length.
pub fn conv2d_forward(
    shape: &Conv2dShape,
    input: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    activation: Activation,
    output: &mut [f32],
) {
    assert_eq!(weights.len(), shape.weights_len(), "conv2d: weights");
    let kernels = Kernels::of(Level::current());
    let panels = panels::forward(shape, &kernels);
    let mut packed = Scratch::any(panels.len());
    pack_forward(shape, &panels, weights, &mut packed);
    run(
        shape,
        &kernels,
        input,
        (&panels, &packed),
        bias,
        activation,
        output,
    );
}

/// [`conv2d_forward`] with weights that were packed before, at the level at which they were packed.
///
/// # Panics
///
/// When a slice is not of the shape's length, or the weights were packed for another kernel.
pub fn conv2d_forward_packed(
    shape: &Conv2dShape,
    input: &[f32],
    weights: &PackedFilters,
    bias: Option<&[f32]>,
    activation: Activation,
    output: &mut [f32],
) {
    let kernels = Kernels::of(weights.level);
    assert_eq!(
        weights.panels,
        panels::forward(shape, &kernels),
        "conv2d: packed weights"
    );
    run(
        shape,
        &kernels,
        input,
        (&weights.panels, &weights.packed),
        bias,
        activation,
        output,
    );
}

fn run(
    shape: &Conv2dShape,
    kernels: &Kernels,
    input: &[f32],
    (panels, packed): (&Panels, &[f32]),
    bias: Option<&[f32]>,
    activation: Activation,
    output: &mut [f32],
) {
    assert_eq!(input.len(), shape.input_len(), "conv2d: input");
    assert_eq!(output.len(), shape.output_len(), "conv2d: output");
    let bias = bias.map(|bias| pad_bias(bias, shape, panels));
    let weights = Weights {
        panels,
        packed,
        bias: bias.as_deref(),
        relu: activation == Activation::Relu,
    };

    let problem = Problem::forward(shape);
    let split = Split::new(
        input.len() + output.len(),
        packed.len(),
        shape.batch,
        panels.count(),
    );
    let plan = Plan::new(&problem, kernels, shape.batch.div_ceil(split.images));
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
                problem.pad(source, plan.layout, &mut buffer);
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
                )
            }
        }
    });
}

/// The bias of each group, filled up to whole vectors.
fn pad_bias(bias: &[f32], shape: &Conv2dShape, panels: &Panels) -> Scratch {
    assert_eq!(bias.len(), shape.filters, "conv2d: bias");
    let mut padded = Scratch::zeros(panels.padded * panels.groups);
    for (to, from) in padded
        .chunks_exact_mut(panels.padded)
        .zip(bias.chunks_exact(panels.columns))
    {
        to[..panels.columns].copy_from_slice(from);
    }
    padded
}
