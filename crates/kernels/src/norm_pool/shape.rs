use crate::error::{ShapeError, elements};
use std::ops::Deref;

/// A pooling window and its steps, each down and across; no padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pool2d {
    /// Rows and columns of the window.
    pub window: [usize; 2],
    /// Steps from window to window.
    pub stride: [usize; 2],
}

impl Pool2d {
    /// Square windows side by side.
    pub fn square(size: usize) -> Self {
        Self { window: [size; 2], stride: [size; 2] }
    }
}

/// The sizes of a pooling, alone or fused with batch normalisation and dropout. Without pooling, take `Pool2d::square(1)`.
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
        let Pool2d { window, stride } = self.pool;
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
            return Err(ShapeError::Zero { operation: OPERATION, name });
        }
        for (axis, window, size) in [("rows", window[0], self.height), ("columns", window[1], self.width)] {
            if window > size {
                return Err(ShapeError::Window { operation: OPERATION, axis, window, size });
            }
        }
        elements(OPERATION, &[self.batch, self.height, self.width, self.channels])?;
        let elements = window[0] * window[1];
        if elements > MOST_ELEMENTS {
            return Err(ShapeError::WindowElements { operation: OPERATION, elements, most: MOST_ELEMENTS });
        }
        let output = [(self.height - window[0]) / stride[0] + 1, (self.width - window[1]) / stride[1] + 1];
        Ok(NormPoolShape { sizes: self, output })
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

    /// For each output pixel of an image: its first element in the input image.
    pub(crate) fn windows(&self) -> impl Iterator<Item = usize> + use<> {
        let Self { sizes, output: [rows, columns] } = *self;
        let [down, across] = sizes.pool.stride;
        (0..rows).flat_map(move |y| (0..columns).map(move |x| (y * down * sizes.width + x * across) * sizes.channels))
    }

    /// For each element of a window, in scan order: its distance from the first in the input.
    pub(crate) fn offsets(&self) -> Vec<usize> {
        let [rows, columns] = self.pool.window;
        (0..rows).flat_map(|y| (0..columns).map(move |x| (y * self.width + x) * self.channels)).collect()
    }
}

impl Deref for NormPoolShape {
    type Target = NormPool;

    fn deref(&self) -> &NormPool {
        &self.sizes
    }
}
