//! The forward pass: one matrix product per image, without a copy of its windows.
//!
//! With channels last, the window of an output pixel is a few contiguous stretches of the input, one
//! for each kernel row, and the window of the next pixel is the same shifted by the stride. So the
//! left operand of the product is the input itself, read where it lies ([`Plan`]); the right one is
//! the packed weights ([`pack`](super::pack)). Only where padding must be in the input as zeros, or
//! numbers are rounded to be multiplied ([`Products`]), a group of images small enough for the L2
//! cache is copied first. Bias, residual and activation are applied to a tile while it is in
//! registers.
//!
//! Depthwise convolutions ([`depthwise`](super::depthwise)), and kernels for which there are fewer multiplications
//! ([`winograd`](super::winograd)), go their own ways.

use crate::epilogue::{Activation, Epilogue};
use crate::micro::Kernels;
use crate::parallel::{Scratch, Shared};
use crate::products::Products;
use crate::simd_level::SimdLevel;

use super::depthwise::{PreparedDepthwise, is_depthwise};
use super::geometry::ConvGeometry;
use super::pack::{Panels, Pass, pack};
use super::plan::{Plan, Split, Weights};
use super::shape::Conv2dShape;
use super::winograd::{Passes, Winograd};

/// Convolution (cross-correlation) with bias, residual and activation: `output = activation(input ⋆
/// weights + bias + residual)`.
///
/// - `input`: `[batch, height, width, channels]`
/// - `weights`: `[filters, channels / groups, kernel rows, kernel columns]`
/// - `epilogue`: bias `[filters]`, residual of the output's shape
/// - `output`: `[batch, output rows, output columns, filters]`, overwritten
///
/// The number of images decides how some kernels are computed, and so how an image is rounded; of a [`PreparedConv2d`] it
/// does not.
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
    let Epilogue {
        bias,
        residual,
        activation,
    } = *epilogue;
    let prepared = PreparedConv2d::for_passes(Passes::One, shape, weights, bias, activation);
    prepared.forward(input, residual, output);
}

/// A convolution whose weights are packed, and whose tiles are planned, once for any number of passes.
///
/// It holds for the [instruction set](SimdLevel::current) with which it was prepared.
pub struct PreparedConv2d {
    shape: Conv2dShape,
    activation: Activation,
    way: Way,
}

enum Way {
    Product(Box<Product>),
    Winograd {
        winograd: Box<Winograd>,
        bias: Option<Scratch>,
    },
    Depthwise(Box<PreparedDepthwise>),
}

/// As a product of matrices. Its geometry, panels and plan count channels in words.
struct Product {
    level: SimdLevel,
    products: Products,
    kernels: Kernels,
    geometry: ConvGeometry,
    panels: Panels,
    packed: Scratch,
    bias: Option<Scratch>,
    plan: Plan,
}

impl PreparedConv2d {
    /// Packs weights `[filters, channels / groups, kernel rows, kernel columns]` and a bias `[filters]`, and plans
    /// the passes for the threads of the current pool.
    ///
    /// # Panics
    ///
    /// When a slice is not of the shape's length.
    pub fn new(
        shape: &Conv2dShape,
        weights: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
    ) -> Self {
        Self::for_passes(Passes::Many, shape, weights, bias, activation)
    }

    fn for_passes(
        passes: Passes,
        shape: &Conv2dShape,
        weights: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
    ) -> Self {
        assert_eq!(weights.len(), shape.weights_len(), "conv2d: weights");
        if let Some(bias) = bias {
            assert_eq!(bias.len(), shape.filters, "conv2d: bias");
        }
        let way = if is_depthwise(shape) {
            Way::Depthwise(Box::new(PreparedDepthwise::new(shape, weights, bias)))
        } else if let Some(winograd) = Winograd::new(shape, passes, weights) {
            Way::Winograd {
                bias: bias.map(|bias| pad_bias(bias, winograd.panels())),
                winograd: Box::new(winograd),
            }
        } else {
            Way::Product(Box::new(Product::new(shape, weights, bias)))
        };
        Self {
            shape: *shape,
            activation,
            way,
        }
    }

    /// Returns the sizes.
    pub const fn shape(&self) -> &Conv2dShape {
        &self.shape
    }

    /// Computes `output = activation(input ⋆ weights + bias + residual)`, as [`conv2d_forward`] does; the residual has
    /// the output's shape.
    ///
    /// # Panics
    ///
    /// When a slice is not of the shape's length.
    pub fn forward(&self, input: &[f32], residual: Option<&[f32]>, output: &mut [f32]) {
        let shape = &self.shape;
        assert_eq!(input.len(), shape.input_len(), "conv2d: input");
        assert_eq!(output.len(), shape.output_len(), "conv2d: output");
        if let Some(residual) = residual {
            assert_eq!(residual.len(), shape.output_len(), "conv2d: residual");
        }
        match &self.way {
            Way::Product(product) => {
                product.forward(shape, input, residual, self.activation, output);
            }
            Way::Winograd { winograd, bias } => {
                let epilogue = Epilogue {
                    bias: bias.as_deref(),
                    residual,
                    activation: self.activation,
                };
                winograd.forward(shape.batch, input, epilogue, output);
            }
            Way::Depthwise(depthwise) => {
                depthwise.forward(shape, input, residual, self.activation, output);
            }
        }
    }
}

impl Product {
    fn new(shape: &Conv2dShape, weights: &[f32], bias: Option<&[f32]>) -> Self {
        let level = SimdLevel::current();
        let products = shape.products.at(level, shape.channels / shape.groups);
        let kernels = Kernels::of(level, products);
        let (panels, packed) = pack(shape, Pass::Forward, &kernels, (level, products), weights);
        let geometry = ConvGeometry::forward(&shape.in_words(products));
        let images = Self::split(shape, &panels).images;
        Self {
            level,
            products,
            plan: Plan::new(&geometry, &kernels, shape.batch.div_ceil(images)),
            kernels,
            geometry,
            bias: bias.map(|bias| pad_bias(bias, &panels)),
            panels,
            packed,
        }
    }

    fn split(shape: &Conv2dShape, panels: &Panels) -> Split {
        Split::new(
            shape.input_len() + shape.output_len(),
            panels.len(),
            shape.batch,
            panels.count(),
        )
    }

    fn forward(
        &self,
        shape: &Conv2dShape,
        input: &[f32],
        residual: Option<&[f32]>,
        activation: Activation,
        output: &mut [f32],
    ) {
        let Self {
            level,
            products,
            kernels,
            geometry,
            panels,
            packed,
            bias,
            plan,
        } = self;
        let buffered = plan.buffered || *products == Products::Bf16;
        let weights = Weights {
            panels,
            packed,
            bias: bias.as_deref(),
            residual,
            activation,
        };
        let image_in = input.len() / shape.batch;
        let output = Shared::new(output);
        Self::split(shape, panels).run(|task| {
            let images = &task.images;
            let range = task.part_of(panels.count());
            let group = plan.group(kernels, images.len());
            let mut buffer = Scratch::any(if buffered {
                group * plan.layout.image
            } else {
                0
            });
            for first in images.clone().step_by(group) {
                let count = group.min(images.end - first);
                let source = &input[first * image_in..(first + count) * image_in];
                let source = if buffered {
                    geometry.pad(*level, *products, source, plan.layout, &mut buffer);
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
