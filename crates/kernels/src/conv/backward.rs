//! The gradients of input, weights and bias in one pass over the images.
//!
//! All three need the gradient before the activation: the output's gradient where the activation was
//! positive, or what [`NormPoolGradient`] makes of a smaller one. It is written for a group of images
//! at a time into a buffer that stays in the L2 cache, in the layout that the input gradient wants
//! (with the zeros that its windows reach over), and is used there three times:
//!
//! - the bias gradient is its sums by filter, made while it is written;
//! - the weight gradient is an outer product of input and gradient over the pixels
//!   ([`WeightTiles`]); each share of the images has sums of its own, added in their order at the
//!   end, so that equal calls give equal bits;
//! - the input gradient is a convolution of it with the reversed kernel ([`InputGradient`]), by the
//!   plan and the kernel of the forward pass.

use crate::micro::Kernels;
use crate::norm_pool::NormPoolGradient;
use crate::parallel::{Scratch, Shared};
use crate::simd_level::{SimdLevel, multiversioned};

use super::forward::Activation;
use super::geometry::{ConvGeometry, Layout};
use super::pack::{Panels, pack_transposed, transposed_panels};
use super::plan::{Plan, Share, Split, Weights};
use super::shape::Conv2dShape;
use super::weight_gradient::{LaidOut, WeightTiles};

/// Where a convolution's gradients go; what is `None` is not computed.
#[derive(Debug, Default)]
pub struct Conv2dGradients<'a> {
    /// `[batch, height, width, channels]`.
    pub input: Option<&'a mut [f32]>,
    /// `[filters, channels / groups, kernel rows, kernel columns]`.
    pub weights: Option<&'a mut [f32]>,
    /// `[filters]`.
    pub bias: Option<&'a mut [f32]>,
}

/// Gradients of [`conv2d_forward`](crate::conv2d_forward), overwriting what `gradients` names.
///
/// One pass over the images: a group of them at a time is masked by its activation into a buffer
/// that stays in cache for the bias, weight and input gradients.
///
/// # Panics
///
/// When a slice is not of the shape's length.
pub fn conv2d_backward(
    shape: &Conv2dShape,
    input: &[f32],
    weights: &[f32],
    gradient: &OutputGradient,
    gradients: Conv2dGradients,
) {
    assert_eq!(input.len(), shape.input_len(), "conv2d: input");
    assert_eq!(weights.len(), shape.weights_len(), "conv2d: weights");
    gradient.assert_shape(shape);
    let level = SimdLevel::current();
    let kernels = Kernels::of(level);

    let Conv2dGradients {
        input: to_input,
        weights: to_weights,
        bias: to_bias,
    } = gradients;
    let tiles = WeightTiles::new(shape, &kernels);
    let panels = transposed_panels(shape, &kernels);
    let split = Split::new(
        input.len() + shape.output_len(),
        weights.len(),
        shape.batch,
        tiles.count().min(panels.count()),
    );
    let to_input =
        to_input.map(|to| InputGradient::new(shape, &kernels, weights, panels, &split, to));
    let layout = to_input
        .as_ref()
        .map_or(plain_layout(shape), |to| to.plan.layout);

    // Each share of the images has sums of its own; what divides the weights divides one share's
    // sums.
    let mut weight_sums = Scratch::any(if to_weights.is_some() {
        tiles.len() * split.images
    } else {
        0
    });
    let mut bias_sums = vec![0.0_f64; shape.filters * split.images];
    let all_weight_sums = to_weights.is_some().then(|| Shared::new(&mut weight_sums));
    let all_bias_sums = Shared::new(&mut bias_sums);

    let image = input.len() / shape.batch;
    let step = images_at_a_time(image + layout.image, shape.output());
    let group = to_input
        .as_ref()
        .map_or(1, |to| {
            to.plan.group(&kernels, shape.batch.div_ceil(split.images))
        })
        .max(step);
    split.run(|task| {
        let range = task.part_of(tiles.count());
        let weight_sums =
            all_weight_sums.map(|all| all.part(task.index * tiles.len(), tiles.len()));
        let mut image_sums = Scratch::any(shape.filters);
        // A panel more: the last pixel's vectors may reach beyond it.
        let mut buffer = Scratch::any(group * layout.image + kernels.columns());
        for first in task.images.clone().step_by(group) {
            let count = group.min(task.images.end - first);
            for (image, buffer) in (first..first + count).zip(buffer.chunks_exact_mut(layout.image))
            {
                gradient.write_image(level, shape, image, layout, buffer, &mut image_sums);
                if task.part == 0 {
                    // SAFETY: of the tasks with these images, only this one is part 0.
                    let sums =
                        unsafe { all_bias_sums.slice(task.index * shape.filters, shape.filters) };
                    sums.iter_mut()
                        .zip(image_sums.iter())
                        .for_each(|(total, &sum)| *total += f64::from(sum));
                }
            }
            if let Some(sums) = weight_sums {
                for offset in (0..count).step_by(step) {
                    let images = step.min(count - offset);
                    let gradient = LaidOut {
                        values: &buffer[offset * layout.image..],
                        layout,
                    };
                    let input = &input[(first + offset) * image..];
                    let accumulate = first + offset > task.images.start;
                    // SAFETY: tasks have different images, and sums of their own, or different
                    // rows.
                    unsafe { tiles.run(range.clone(), input, gradient, images, sums, accumulate) }
                }
            }
            if let Some(to) = &to_input {
                // SAFETY: tasks write different images or panels.
                unsafe { to.run(&kernels, &buffer, &task, (first, count)) }
            }
        }
    });

    if let Some(to) = to_weights {
        tiles.unpack(shape, &weight_sums, to);
    }
    if let Some(to) = to_bias {
        assert_eq!(to.len(), shape.filters, "conv2d: bias gradient");
        for (filter, to) in to.iter_mut().enumerate() {
            *to = bias_sums[filter..]
                .iter()
                .step_by(shape.filters)
                .sum::<f64>() as f32;
        }
    }
}

/// The gradient's layout where no input gradient asks for another.
fn plain_layout(shape: &Conv2dShape) -> Layout {
    let [rows, columns] = shape.output();
    let row = columns * shape.filters;
    Layout {
        image: rows * row,
        row,
        before: 0,
    }
}

/// Images over which all weight tiles pass at a time: few enough to stay in cache, enough that the
/// sums are long.
fn images_at_a_time(floats: usize, [rows, columns]: [usize; 2]) -> usize {
    const BYTES: usize = 128 * 1024;
    const PIXELS: usize = 256;
    (BYTES / (floats * size_of::<f32>())).max(PIXELS.div_ceil(rows * columns))
}

/// The gradient of a convolution's or dense layer's output.
#[derive(Debug, Clone, Copy)]
pub enum OutputGradient<'a> {
    /// The layer's activation is linear.
    Linear {
        /// Gradient of the output, `[batch, output rows, output columns, filters]`.
        gradient: &'a [f32],
    },
    /// The layer's activation is `max(x, 0)`.
    Relu {
        /// Gradient of the output, `[batch, output rows, output columns, filters]`.
        gradient: &'a [f32],
        /// What the forward pass gave, of the same shape: the gradient passes where it is positive.
        output: &'a [f32],
    },
    /// Batch normalization, max-pooling or dropout follow, and pass their gradient on without
    /// writing it out.
    NormPool {
        /// Theirs, of which the layer's output was the input.
        gradient: &'a NormPoolGradient<'a>,
        /// The layer's activation.
        activation: Activation,
    },
}

impl OutputGradient<'_> {
    /// Checks the lengths.
    pub(super) fn assert_shape(&self, shape: &Conv2dShape) {
        let length = shape.output_len();
        match self {
            Self::Linear { gradient } => assert_eq!(gradient.len(), length, "output gradient"),
            Self::Relu { gradient, output } => {
                assert_eq!(gradient.len(), length, "output gradient");
                assert_eq!(output.len(), length, "output");
            }
            Self::NormPool { gradient, .. } => {
                let pool = gradient.shape();
                let found = [pool.batch, pool.height, pool.width, pool.channels];
                let [rows, columns] = shape.output();
                assert_eq!(
                    found,
                    [shape.batch, rows, columns, shape.filters],
                    "output gradient's shape"
                );
            }
        }
    }

    /// Writes one image of the gradient before the activation into `to`, in `layout`, and its sums
    /// by filter into `sums`.
    pub(super) fn write_image(
        &self,
        level: SimdLevel,
        shape: &Conv2dShape,
        image: usize,
        layout: Layout,
        to: &mut [f32],
        sums: &mut [f32],
    ) {
        sums.fill(0.0);
        let [rows, columns] = shape.output();
        let (row, length) = (columns * shape.filters, rows * columns * shape.filters);
        let mut unpooled = None;
        let (gradient, output) = match self {
            Self::Linear { gradient } => (&gradient[image * length..][..length], None),
            Self::Relu { gradient, output } => (
                &gradient[image * length..][..length],
                Some(&output[image * length..][..length]),
            ),
            Self::NormPool {
                gradient,
                activation,
            } => {
                let written = unpooled.insert(Scratch::any(length));
                gradient.write_image(level, image, written);
                (
                    &written[..],
                    (*activation == Activation::Relu).then(|| gradient.input_image(image)),
                )
            }
        };
        layout.rows(to, rows, row, |y, to| {
            let range = y * row..(y + 1) * row;
            match output {
                None => linear(level, &gradient[range], to, sums),
                Some(output) => relu(level, &gradient[range.clone()], &output[range], to, sums),
            }
        });
    }
}

multiversioned! {
    fn linear(gradient: &[f32], to: &mut [f32], sums: &mut [f32]) = linear_body
}

#[inline(always)]
fn linear_body(gradient: &[f32], to: &mut [f32], sums: &mut [f32]) {
    let filters = sums.len();
    for (to, gradient) in to
        .chunks_exact_mut(filters)
        .zip(gradient.chunks_exact(filters))
    {
        for ((to, sum), &gradient) in to.iter_mut().zip(sums.iter_mut()).zip(gradient) {
            *to = gradient;
            *sum += gradient;
        }
    }
}

multiversioned! {
    fn relu(gradient: &[f32], output: &[f32], to: &mut [f32], sums: &mut [f32]) = relu_body
}

#[inline(always)]
fn relu_body(gradient: &[f32], output: &[f32], to: &mut [f32], sums: &mut [f32]) {
    let filters = sums.len();
    let rows = gradient
        .chunks_exact(filters)
        .zip(output.chunks_exact(filters));
    for (to, (gradient, output)) in to.chunks_exact_mut(filters).zip(rows) {
        for (((to, sum), &gradient), &output) in
            to.iter_mut().zip(sums.iter_mut()).zip(gradient).zip(output)
        {
            let passed = if output > 0.0 { gradient } else { 0.0 };
            *to = passed;
            *sum += passed;
        }
    }
}

/// The input gradient: a convolution of the output's gradient with the kernel reversed, channels
/// and filters exchanged.
pub(super) struct InputGradient<'a> {
    pub plan: Plan,
    panels: Panels,
    packed: Scratch,
    to: Shared<'a, f32>,
}

impl<'a> InputGradient<'a> {
    pub(super) fn new(
        shape: &Conv2dShape,
        kernels: &Kernels,
        weights: &[f32],
        panels: Panels,
        split: &Split,
        to: &'a mut [f32],
    ) -> Self {
        assert_eq!(to.len(), shape.input_len(), "conv2d: input gradient");
        let mut packed = Scratch::any(panels.len());
        pack_transposed(shape, &panels, weights, &mut packed);
        let plan = Plan::new(
            &ConvGeometry::transposed(shape),
            kernels,
            shape.batch.div_ceil(split.images),
        );
        Self {
            plan,
            panels,
            packed,
            to: Shared::new(to),
        }
    }

    /// Computes the task's part of `images` (first and count), whose gradient is in `buffer` in the
    /// plan's layout.
    ///
    /// # Safety
    ///
    /// No other task may have the same images and part.
    pub(super) unsafe fn run(
        &self,
        kernels: &Kernels,
        buffer: &[f32],
        task: &Share,
        images: (usize, usize),
    ) {
        let range = task.part_of(self.panels.count());
        let weights = Weights {
            panels: &self.panels,
            packed: &self.packed,
            bias: None,
            relu: false,
        };
        // SAFETY: as the caller promises.
        unsafe {
            self.plan
                .run(kernels, buffer, &weights, range, self.to, images);
        }
    }
}
