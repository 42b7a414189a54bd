//! Windows that slide over an image, and what is put around it.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::document::{Field, RecipeError, Section};
use crate::{Preprocessing, ShapeError};

/// How a convolution or pooling treats the border.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// No padding: the output shrinks.
    Valid,
    /// Padded such that the output has `ceil(input / stride)` rows and columns; an odd one goes
    /// below and to the right, as TensorFlow places it.
    Same,
    /// So many rows and columns, as in `PyTorch`.
    Explicit(Pads),
}

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
    /// As many rows and columns on all sides.
    pub const fn all(size: usize) -> Self {
        Self {
            top: size,
            left: size,
            bottom: size,
            right: size,
        }
    }

    /// Returns the height and width of an image of this size with the pads around it.
    pub fn around(&self, [height, width]: [usize; 2]) -> [usize; 2] {
        [
            height + self.top + self.bottom,
            width + self.left + self.right,
        ]
    }

    /// As a recipe has them: one number, `[height, width]` or `[top, left, bottom, right]`.
    fn numbers(&self) -> Vec<usize> {
        match *self {
            Self {
                top,
                left,
                bottom,
                right,
            } if top != bottom || left != right => vec![top, left, bottom, right],
            Self { top, left, .. } if top != left => vec![top, left],
            Self { top, .. } => vec![top],
        }
    }
}

impl fmt::Display for Padding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Valid => f.write_str("valid"),
            Self::Same => f.write_str("same"),
            Self::Explicit(pads) => match pads.numbers()[..] {
                [size] => write!(f, "{size}"),
                ref sizes => write!(f, "{sizes:?}"),
            },
        }
    }
}

impl Serialize for Padding {
    /// As in a recipe.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Valid | Self::Same => serializer.collect_str(self),
            Self::Explicit(pads) => match pads.numbers()[..] {
                [size] => size.serialize(serializer),
                ref sizes => sizes.serialize(serializer),
            },
        }
    }
}

impl Padding {
    const WORDS: [(&'static str, Self); 2] = [("valid", Self::Valid), ("same", Self::Same)];

    pub(super) fn is_valid(&self) -> bool {
        *self == Self::Valid
    }

    /// Reads the key `padding`: none by default.
    pub(super) fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        section
            .get("padding")
            .map_or(Ok(Self::Valid), |field| Self::read(&field))
    }

    fn read(field: &Field<'_>) -> Result<Self, RecipeError> {
        if field.is_string() {
            return field.choice(&Self::WORDS);
        }
        let size = 0..=i64::from(Preprocessing::MAX_SIDE);
        if !field.is_array() {
            let expected = "`valid`, `same` or pixels, such as 3, [1, 2] or [0, 0, 1, 1]";
            return match field.integer(size) {
                Ok(size) => Ok(Self::Explicit(Pads::all(size))),
                Err(_) => Err(field.mismatch(expected)),
            };
        }
        let items = field.array()?;
        let sizes = items
            .iter()
            .map(|item| item.integer(size.clone()))
            .collect::<Result<Vec<usize>, _>>()?;
        match sizes[..] {
            [top, left, bottom, right] => Ok(Self::Explicit(Pads {
                top,
                left,
                bottom,
                right,
            })),
            [height, width] => Ok(Self::Explicit(Pads {
                top: height,
                left: width,
                bottom: height,
                right: width,
            })),
            _ => Err(field.error(format!(
                "`{}` must be [height, width] or [top, left, bottom, right], found {} numbers",
                field.path(),
                sizes.len()
            ))),
        }
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
        let total = |n: usize, kernel: usize, stride: usize| {
            ((n.div_ceil(stride) - 1) * stride + kernel).saturating_sub(n)
        };
        match self {
            Self::Valid => Pads::default(),
            Self::Explicit(pads) => pads,
            Self::Same => {
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
