//! The gradients of input, weights and bias in one pass over the images.
//!
//! All three need the gradient before the activation: the output's gradient where the activation was
//! positive, or what [`NormPoolGradient`](crate::NormPoolGradient) makes of a smaller one. It is written for a group of images
//! at a time into a buffer that stays in the L2 cache, in the layout that the input gradient wants
//! (with the zeros that its windows reach over), and is used there three times:
//!
//! - the bias gradient is its sums by filter, made while it is written;
//! - the weight gradient is an outer product of input and gradient over the pixels
//!   ([`WeightTiles`]); each share of the images has sums of its own, added in their order at the
//!   end, so that equal calls give equal bits;
//! - the input gradient is a convolution of it with the reversed kernel ([`InputGradient`]), by the
//!   plan and the kernel of the forward pass.
//!
//! Depthwise convolutions ([`depthwise`](super::depthwise)), and kernels for which there are fewer multiplications
//! ([`winograd`](super::winograd)), go their own ways.
//!
//! With products of bfloat16 ([`Products`]) the last two make words of the buffer first.

use crate::epilogue::Activation;
use crate::micro::Kernels;
use crate::parallel::{Scratch, Shared};
use crate::products::{Products, narrow};
use crate::simd_level::SimdLevel;

use super::depthwise::{depthwise_backward, is_depthwise};
use super::geometry::{ConvGeometry, Layout};
use super::output_gradient::{Conv2dGradients, OutputGradient, add_shares};
use super::pack::{Panels, Pass, pack, transposed_panels};
use super::plan::{Plan, Share, Split, Weights};
use super::shape::Conv2dShape;
use super::weight_gradient::{LaidOut, WeightTiles};
use super::winograd::WinogradGradients;

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
    gradients.assert_shape(shape);
    if is_depthwise(shape) {
        return depthwise_backward(shape, input, weights, gradient, gradients);
    }
    if let Some(winograd) = WinogradGradients::of(shape) {
        return winograd.backward(shape, input, weights, gradient, gradients);
    }
    let level = SimdLevel::current();
    let Conv2dGradients {
        input: to_input,
        weights: to_weights,
        bias: to_bias,
    } = gradients;
    let tiles = WeightTiles::new(shape, level);
    let split = Split::new(
        input.len() + shape.output_len(),
        weights.len(),
        shape.batch,
        tiles.count().min(InputGradient::panels(shape, level)),
    );
    let to_input = to_input.map(|to| InputGradient::new(shape, level, weights, &split, to));
    let layout = to_input
        .as_ref()
        .map_or(Layout::plain(shape), InputGradient::layout);

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
            to.plan
                .group(&to.kernels, shape.batch.div_ceil(split.images))
        })
        .max(step);
    split.run(|task| {
        let range = task.part_of(tiles.count());
        let weight_sums =
            all_weight_sums.map(|all| all.part(task.index * tiles.len(), tiles.len()));
        let mut image_sums = Scratch::any(shape.filters);
        // A panel more: the last pixel's vectors may reach beyond it.
        let mut buffer = Scratch::any(group * layout.image + tiles.beyond());
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
                unsafe { to.run(&buffer, &task, (first, count)) }
            }
        }
    });

    if let Some(to) = to_weights {
        tiles.unpack(shape, &weight_sums, to);
    }
    if let Some(to) = to_bias {
        add_shares(&bias_sums, to);
    }
}

/// Images over which all weight tiles pass at a time: few enough to stay in cache, enough that the
/// sums are long.
fn images_at_a_time(floats: usize, [rows, columns]: [usize; 2]) -> usize {
    const BYTES: usize = 128 * 1024;
    const PIXELS: usize = 256;
    (BYTES / (floats * size_of::<f32>())).max(PIXELS.div_ceil(rows * columns))
}

/// The input gradient: a convolution of the output's gradient with the kernel reversed, channels
/// and filters exchanged.
///
/// Its panels and plan count filters in words.
pub(super) struct InputGradient<'a> {
    level: SimdLevel,
    products: Products,
    pub kernels: Kernels,
    pub plan: Plan,
    panels: Panels,
    packed: Scratch,
    to: Shared<'a, f32>,
}

impl<'a> InputGradient<'a> {
    fn products(shape: &Conv2dShape, level: SimdLevel) -> Products {
        shape.products.at(level, shape.filters / shape.groups)
    }

    /// How many panels there are.
    pub(super) fn panels(shape: &Conv2dShape, level: SimdLevel) -> usize {
        let kernels = Kernels::of(level, Self::products(shape, level));
        transposed_panels(shape, &kernels).count()
    }

    pub(super) fn new(
        shape: &Conv2dShape,
        level: SimdLevel,
        weights: &[f32],
        split: &Split,
        to: &'a mut [f32],
    ) -> Self {
        let products = Self::products(shape, level);
        let kernels = Kernels::of(level, products);
        let (panels, packed) = pack(
            shape,
            Pass::InputGradient,
            &kernels,
            (level, products),
            weights,
        );
        let plan = Plan::new(
            &ConvGeometry::transposed(&shape.in_words_of_filters(products)),
            &kernels,
            shape.batch.div_ceil(split.images),
        );
        Self {
            level,
            products,
            kernels,
            plan,
            panels,
            packed,
            to: Shared::new(to),
        }
    }

    /// Where the gradient is to lie, in floats.
    pub(super) fn layout(&self) -> Layout {
        self.plan.layout.in_floats(self.products)
    }

    /// Computes the task's part of `images` (first and count), whose gradient is in `buffer` in
    /// [this layout](Self::layout).
    ///
    /// # Safety
    ///
    /// No other task may have the same images and part.
    pub(super) unsafe fn run(&self, buffer: &[f32], task: &Share, images: (usize, usize)) {
        let words = (self.products == Products::Bf16).then(|| {
            let mut words = Scratch::any(images.1 * self.plan.layout.image);
            narrow(self.level, &buffer[..2 * words.len()], &mut words);
            words
        });
        let buffer = words.as_deref().unwrap_or(buffer);
        let range = task.part_of(self.panels.count());
        let weights = Weights {
            panels: &self.panels,
            packed: &self.packed,
            bias: None,
            residual: None,
            activation: Activation::Linear,
        };
        // SAFETY: as the caller promises.
        unsafe {
            self.plan
                .run(&self.kernels, buffer, &weights, range, self.to, images);
        }
    }
}
