//! Windows that slide over an image, and what is put around it.

use crate::ShapeError;
use crate::document::{RecipeError, Section};

/// How a convolution or pooling treats the border.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// No padding: the output shrinks.
    Valid,
    /// Padded such that the output has `ceil(input / stride)` rows and columns; an odd one goes
    /// below and to the right, as TensorFlow places it.
    Same,
}

kiln_util::str_enum!(Padding: Serialize { Valid = "valid", Same = "same" });

/// What is put around an image, in rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pads {
    /// Rows above.
    pub top: usize,
    /// Columns to the left.
    pub left: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Pads {
    /// Returns the height and width of an image of this size with the pads around it.
    pub fn around(&self, [height, width]: [usize; 2]) -> [usize; 2] {
        [
            height + self.top + self.bottom,
            width + self.left + self.right,
        ]
    }
}

impl Padding {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde hands over a reference"
    )]
    pub(super) fn is_valid(&self) -> bool {
        *self == Self::Valid
    }

    /// Reads the key `padding`: none by default.
    pub(super) fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        section.choice_or("padding", Self::Valid, &Self::WORDS)
    }

    /// Computes the pads around an image of `height` by `width`.
    ///
    /// `Same`, per axis (TensorFlow's `tf.nn.convolution`): `out = ceil(n / stride)`, `total =
    /// max((out - 1) * stride + kernel - n, 0)`, half of it (rounded down) before, the rest after.
    pub fn pads(
        self,
        [height, width]: [usize; 2],
        kernel: [usize; 2],
        strides: [usize; 2],
    ) -> Pads {
        let total = |n: usize, kernel: usize, stride: usize| match self {
            Self::Valid => 0,
            Self::Same => ((n.div_ceil(stride) - 1) * stride + kernel).saturating_sub(n),
        };
        let rows = total(height, kernel[0], strides[0]);
        let columns = total(width, kernel[1], strides[1]);
        Pads {
            top: rows / 2,
            left: columns / 2,
            bottom: rows - rows / 2,
            right: columns - columns / 2,
        }
    }
}

/// Counts the positions of a window in an image of `size`, per axis: `(size - window) / stride + 1`.
pub(super) fn positions(
    what: &'static str,
    size: [usize; 2],
    window: [usize; 2],
    strides: [usize; 2],
) -> Result<[usize; 2], ShapeError> {
    if window[0] > size[0] || window[1] > size[1] {
        return Err(ShapeError::Window { what, window, size });
    }
    Ok([0, 1].map(|axis| (size[axis] - window[axis]) / strides[axis] + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_is_tensorflows() {
        // tf.nn.conv2d, padding="SAME": 28 wide, kernel 3, stride 2 gives 14 with one column, to the
        // right.
        let pads = Padding::Same.pads([28, 28], [3, 3], [2, 2]);
        assert_eq!(
            pads,
            Pads {
                top: 0,
                left: 0,
                bottom: 1,
                right: 1
            }
        );
        assert_eq!(
            Padding::Same.pads([28, 28], [5, 4], [1, 1]),
            Pads {
                top: 2,
                left: 1,
                bottom: 2,
                right: 2
            }
        );
        assert_eq!(
            Padding::Same.pads([28, 28], [1, 1], [3, 3]),
            Pads::default()
        );
        assert_eq!(
            Padding::Valid.pads([28, 28], [5, 5], [1, 1]),
            Pads::default()
        );
    }
}
