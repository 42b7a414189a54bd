use super::forward::Activation;
use super::problem::Layout;
use super::shape::Conv2dShape;
use crate::level::{Level, multiversioned};
use crate::norm_pool::NormPoolGradient;
use crate::scratch::Scratch;

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
    /// Batch normalisation, max-pooling or dropout follow, and pass their gradient on without
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
        level: Level,
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
