//! The sizes of a convolution, checked once.
//!
//! Kernels index without checks of their own in their inner loops. What makes that sound is that
//! they only take a [`Conv2dShape`], which [`Conv2d::checked`] gives: no size is zero, groups divide
//! channels and filters, the window fits into the padded input, and no tensor, padded or packed, has
//! more elements than a slice can.

use std::ops::Deref;

use crate::error::{ShapeError, elements};
use crate::products::Products;

/// The sizes of a two-dimensional convolution (cross-correlation, as ONNX and PyTorch define
/// `Conv`), and how it multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2d {
    /// Images.
    pub batch: usize,
    /// Input rows.
    pub height: usize,
    /// Input columns.
    pub width: usize,
    /// Input channels.
    pub channels: usize,
    /// Output channels.
    pub filters: usize,
    /// Kernel rows and columns.
    pub kernel: [usize; 2],
    /// Steps between windows, down and across.
    pub stride: [usize; 2],
    /// Zeros around the input: top, left, bottom, right (ONNX `pads`).
    pub padding: [usize; 4],
    /// Distance between a kernel's taps, down and across; 1 is a dense kernel.
    pub dilation: [usize; 2],
    /// Groups of channels that do not see one another; 1 is an ordinary convolution.
    pub groups: usize,
    /// How its products are computed, forward and of its gradients.
    pub products: Products,
}

/// A [`Conv2d`] whose sizes fit together: the only kind that the kernels take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2dShape {
    sizes: Conv2d,
    output: [usize; 2],
}

const OPERATION: &str = "conv2d";

impl Conv2d {
    /// A convolution with stride 1, no padding, no dilation, one group and products of float32.
    pub fn new(input: [usize; 4], filters: usize, kernel: [usize; 2]) -> Self {
        let [batch, height, width, channels] = input;
        let (stride, padding, dilation, groups) = ([1; 2], [0; 4], [1; 2], 1);
        Self {
            batch,
            height,
            width,
            channels,
            filters,
            kernel,
            stride,
            padding,
            dilation,
            groups,
            products: Products::Float32,
        }
    }

    /// A dense layer: a 1×1 convolution of 1×1 images. Input `[batch, inputs]`, weights `[outputs,
    /// inputs]` (PyTorch's `Linear`, ONNX's `Gemm` with `transB`), output `[batch, outputs]`.
    pub fn dense(batch: usize, inputs: usize, outputs: usize) -> Self {
        Self::new([batch, 1, 1, inputs], outputs, [1, 1])
    }

    /// This convolution with the same zeros on all four sides.
    #[must_use]
    pub fn padded(self, zeros: usize) -> Self {
        Self {
            padding: [zeros; 4],
            ..self
        }
    }

    /// Checks that the sizes fit together.
    pub fn checked(self) -> Result<Conv2dShape, ShapeError> {
        let named = [
            ("batch", self.batch),
            ("height", self.height),
            ("width", self.width),
            ("channels", self.channels),
            ("filters", self.filters),
            ("kernel rows", self.kernel[0]),
            ("kernel columns", self.kernel[1]),
            ("stride down", self.stride[0]),
            ("stride across", self.stride[1]),
            ("dilation down", self.dilation[0]),
            ("dilation across", self.dilation[1]),
            ("groups", self.groups),
        ];
        if let Some(&(name, _)) = named.iter().find(|(_, size)| *size == 0) {
            return Err(ShapeError::Zero {
                operation: OPERATION,
                name,
            });
        }
        let Self {
            channels,
            filters,
            groups,
            ..
        } = self;
        if channels % groups != 0 || filters % groups != 0 {
            return Err(ShapeError::Groups {
                groups,
                channels,
                filters,
            });
        }
        let output = [
            self.extent(0, self.height, "rows")?,
            self.extent(1, self.width, "columns")?,
        ];
        let padded = [
            self.height + self.padding[0] + self.padding[2],
            self.width + self.padding[1] + self.padding[3],
        ];
        elements(OPERATION, &[self.batch, padded[0], padded[1], channels])?;
        elements(OPERATION, &[self.batch, output[0], output[1], filters])?;
        elements(
            OPERATION,
            &[
                filters.saturating_add(64),
                channels + 64,
                self.kernel[0],
                self.kernel[1],
            ],
        )?;
        Ok(Conv2dShape {
            sizes: self,
            output,
        })
    }

    /// The output's size along one axis.
    fn extent(&self, axis: usize, input: usize, name: &'static str) -> Result<usize, ShapeError> {
        let too_large = ShapeError::TooLarge {
            operation: OPERATION,
        };
        let size = input
            .checked_add(self.padding[axis])
            .and_then(|size| size.checked_add(self.padding[axis + 2]));
        let window = (self.kernel[axis] - 1)
            .checked_mul(self.dilation[axis])
            .and_then(|span| span.checked_add(1));
        let (Some(size), Some(window)) = (size, window) else {
            return Err(too_large);
        };
        if window > size {
            return Err(ShapeError::Window {
                operation: OPERATION,
                axis: name,
                window,
                size,
            });
        }
        Ok((size - window) / self.stride[axis] + 1)
    }
}

impl Conv2dShape {
    /// Rows and columns of the output.
    pub fn output(&self) -> [usize; 2] {
        self.output
    }

    /// Elements of the input, `[batch, height, width, channels]`.
    pub fn input_len(&self) -> usize {
        self.batch * self.height * self.width * self.channels
    }

    /// Elements of the output, `[batch, output rows, output columns, filters]`.
    pub fn output_len(&self) -> usize {
        self.batch * self.output[0] * self.output[1] * self.filters
    }

    /// Elements of the weights, `[filters, channels / groups, kernel rows, kernel columns]`.
    pub fn weights_len(&self) -> usize {
        self.filters * (self.channels / self.groups) * self.taps()
    }

    /// Multiply-adds of the forward pass, those with padding included.
    pub fn multiply_adds(&self) -> usize {
        self.output_len() * (self.channels / self.groups) * self.taps()
    }

    /// The sizes as the forward pass has them, channels counted in words of `products`, which divide them.
    pub(crate) fn in_words(&self, products: Products) -> Self {
        let mut words = *self;
        words.sizes.channels /= products.in_word();
        words
    }

    /// The sizes as the input gradient has them, filters counted in words of `products`, which divide them.
    pub(crate) fn in_words_of_filters(&self, products: Products) -> Self {
        let mut words = *self;
        words.sizes.filters /= products.in_word();
        words
    }

    /// Positions in the kernel.
    pub(crate) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }
}

impl Deref for Conv2dShape {
    type Target = Conv2d;

    fn deref(&self) -> &Conv2d {
        &self.sizes
    }
}
