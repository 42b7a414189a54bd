use std::ops::Deref;

use super::windows::Windows;
use crate::error::{ShapeError, elements};

/// A pooling window and its steps, each down and across.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pool2d {
    /// Rows and columns of the window.
    pub window: [usize; 2],
    /// Steps from window to window.
    pub stride: [usize; 2],
    /// Rows above, columns to the left, rows below and columns to the right that windows reach over
    /// the edge. What is there is no part of a window: a maximum is of what lies in the image, and
    /// so is a mean.
    pub padding: [usize; 4],
}

impl Pool2d {
    /// Square windows side by side.
    pub fn square(size: usize) -> Self {
        Self {
            window: [size; 2],
            stride: [size; 2],
            padding: [0; 4],
        }
    }
}

/// The sizes of a pooling, alone or fused with batch normalisation and dropout. Without pooling,
/// take `Pool2d::square(1)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NormPool {
    /// Images.
    pub batch: usize,
    /// Input rows.
    pub height: usize,
    /// Input columns.
    pub width: usize,
    /// Channels.
    pub channels: usize,
    /// The window.
    pub pool: Pool2d,
}

/// A [`NormPool`] whose sizes fit together: the only kind that the kernels take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NormPoolShape {
    sizes: NormPool,
    output: [usize; 2],
}

const OPERATION: &str = "pool2d";

/// The most elements in a window: a winner's index has 15 bits.
const MOST_ELEMENTS: usize = 1 << 15;

impl NormPool {
    /// Checks that the sizes fit together.
    pub fn checked(self) -> Result<NormPoolShape, ShapeError> {
        let Pool2d {
            window,
            stride,
            padding,
        } = self.pool;
        let named = [
            ("batch", self.batch),
            ("height", self.height),
            ("width", self.width),
            ("channels", self.channels),
            ("window rows", window[0]),
            ("window columns", window[1]),
            ("stride down", stride[0]),
            ("stride across", stride[1]),
        ];
        if let Some(&(name, _)) = named.iter().find(|(_, size)| *size == 0) {
            return Err(ShapeError::Zero {
                operation: OPERATION,
                name,
            });
        }
        let mut output = [0; 2];
        for (axis, (name, size)) in [("rows", self.height), ("columns", self.width)]
            .into_iter()
            .enumerate()
        {
            let (window, before, after) = (window[axis], padding[axis], padding[axis + 2]);
            if before.max(after) >= window {
                let padding = before.max(after);
                return Err(ShapeError::PoolPadding {
                    operation: OPERATION,
                    axis: name,
                    window,
                    padding,
                });
            }
            let size = size.saturating_add(before).saturating_add(after);
            if window > size {
                return Err(ShapeError::Window {
                    operation: OPERATION,
                    axis: name,
                    window,
                    size,
                });
            }
            output[axis] = (size - window) / stride[axis] + 1;
        }
        elements(
            OPERATION,
            &[self.batch, self.height, self.width, self.channels],
        )?;
        let elements = window[0] * window[1];
        if elements > MOST_ELEMENTS {
            return Err(ShapeError::WindowElements {
                operation: OPERATION,
                elements,
                most: MOST_ELEMENTS,
            });
        }
        Ok(NormPoolShape {
            sizes: self,
            output,
        })
    }
}

impl NormPoolShape {
    /// Rows and columns of the output.
    pub fn output(&self) -> [usize; 2] {
        self.output
    }

    /// Elements of the input, `[batch, height, width, channels]`.
    pub fn input_len(&self) -> usize {
        self.batch * self.image_in()
    }

    /// Elements of the output, `[batch, output rows, output columns, channels]`.
    pub fn output_len(&self) -> usize {
        self.batch * self.image_out()
    }

    /// Elements of an input image.
    pub(crate) fn image_in(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Elements of an output image.
    pub(crate) fn image_out(&self) -> usize {
        self.output[0] * self.output[1] * self.channels
    }

    /// Where the windows of an image lie.
    pub(crate) fn windows(&self) -> Windows {
        Windows::new(self)
    }
}

impl Deref for NormPoolShape {
    type Target = NormPool;

    fn deref(&self) -> &NormPool {
        &self.sizes
    }
}
