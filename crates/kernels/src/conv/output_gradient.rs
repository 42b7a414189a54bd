//! What comes into a convolution's backward pass, the gradient of its output, and what goes out of
//! it.
//!
//! The passes need the gradient before the activation: the output's where the activation was inside
//! its range, or what [`NormPoolGradient`] makes of a smaller one. They write it into buffers that
//! stay in cache, a row at a time, and sum it for the bias while they do.

use crate::epilogue::{Activation, for_activation};
use crate::norm_pool::NormPoolGradient;
use crate::parallel::Scratch;
use crate::simd_level::{SimdLevel, multiversioned};

use super::geometry::Layout;
use super::shape::Conv2dShape;

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

impl Conv2dGradients<'_> {
    /// Checks the lengths.
    pub(super) fn assert_shape(&self, shape: &Conv2dShape) {
        let wanted = [
            ("input", &self.input, shape.input_len()),
            ("weight", &self.weights, shape.weights_len()),
            ("bias", &self.bias, shape.filters),
        ];
        for (name, to, length) in wanted {
            if let Some(to) = to {
                assert_eq!(to.len(), length, "conv2d: {name} gradient");
            }
        }
    }
}

/// The gradient of a convolution's or dense layer's output.
#[derive(Debug, Clone, Copy)]
pub enum OutputGradient<'a> {
    /// The layer's activation is linear.
    Linear {
        /// Gradient of the output, `[batch, output rows, output columns, filters]`.
        gradient: &'a [f32],
    },
    /// The layer has an activation.
    Activated {
        /// The layer's activation.
        activation: Activation,
        /// Gradient of the output, `[batch, output rows, output columns, filters]`.
        gradient: &'a [f32],
        /// What the forward pass gave, of the same shape: it tells where the gradient passes.
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
            Self::Activated {
                gradient, output, ..
            } => {
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

    /// One image of it.
    pub(super) fn image(
        &self,
        level: SimdLevel,
        shape: &Conv2dShape,
        image: usize,
    ) -> ImageGradient<'_> {
        let [rows, columns] = shape.output();
        let length = rows * columns * shape.filters;
        let range = image * length..(image + 1) * length;
        let (gradient, output, activation) = match self {
            Self::Linear { gradient } => {
                (Values::Given(&gradient[range]), None, Activation::Linear)
            }
            Self::Activated {
                activation,
                gradient,
                output,
            } => (
                Values::Given(&gradient[range.clone()]),
                Some(&output[range]),
                *activation,
            ),
            Self::NormPool {
                gradient,
                activation,
            } => {
                let mut written = Scratch::any(length);
                gradient.write_image(level, image, &mut written);
                (
                    Values::Made(written),
                    Some(gradient.input_image(image)),
                    *activation,
                )
            }
        };
        ImageGradient {
            level,
            gradient,
            output: output.filter(|_| activation != Activation::Linear),
            activation,
            row: columns * shape.filters,
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
        let image = self.image(level, shape, image);
        layout.rows(to, shape.output()[0], image.row, |y, to| {
            image.write_row(y, to, sums);
        });
    }
}

/// Writes the sums of some shares, one after another in `sums`, added up in their order.
pub(super) fn add_shares(sums: &[f64], to: &mut [f32]) {
    let length = to.len();
    for (at, to) in to.iter_mut().enumerate() {
        *to = sums[at..].iter().step_by(length).sum::<f64>() as f32;
    }
}

/// The gradient of one image of the output.
pub(super) struct ImageGradient<'a> {
    level: SimdLevel,
    gradient: Values<'a>,
    /// The image itself, where the gradient depends on it.
    output: Option<&'a [f32]>,
    activation: Activation,
    /// Floats of a row.
    row: usize,
}

/// Floats of the caller, or a buffer.
enum Values<'a> {
    Given(&'a [f32]),
    Made(Scratch),
}

impl ImageGradient<'_> {
    /// Writes row `y` of the gradient before the activation into `to`, and adds it to its sums by
    /// filter.
    pub(super) fn write_row(&self, y: usize, to: &mut [f32], sums: &mut [f32]) {
        let range = y * self.row..(y + 1) * self.row;
        let gradient = match &self.gradient {
            Values::Given(values) => values,
            Values::Made(values) => &values[..],
        };
        let gradient = &gradient[range.clone()];
        match self.output {
            None => linear(self.level, gradient, to, sums),
            Some(output) => {
                masked(
                    self.level,
                    self.activation,
                    gradient,
                    &output[range],
                    to,
                    sums,
                );
            }
        }
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
    fn masked(
        activation: Activation,
        gradient: &[f32],
        output: &[f32],
        to: &mut [f32],
        sums: &mut [f32],
    ) = masked_body
}

#[inline(always)]
fn masked_body(
    activation: Activation,
    gradient: &[f32],
    output: &[f32],
    to: &mut [f32],
    sums: &mut [f32],
) {
    let filters = sums.len();
    let rows = gradient
        .chunks_exact(filters)
        .zip(output.chunks_exact(filters));
    for_activation!(activation, ACTIVATION => {
        for (to, (gradient, output)) in to.chunks_exact_mut(filters).zip(rows) {
            for (((to, sum), &gradient), &output) in
                to.iter_mut().zip(sums.iter_mut()).zip(gradient).zip(output)
            {
                let passed = if ACTIVATION.passes(output) { gradient } else { 0.0 };
                *to = passed;
                *sum += passed;
            }
        }
    });
}
