//! Windows that slide over an image, and what is put around it.

use serde::{Deserialize, Serialize};

use crate::Pads;

use super::error::RuleError;
use super::size::{Dims, Size};

/// A window that slides over rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    /// Rows and columns.
    pub kernel: [usize; 2],
    /// Distance between two positions.
    pub strides: [usize; 2],
    /// Distance between two entries of the window.
    pub dilations: [usize; 2],
    /// What is put around the image.
    pub pads: [[usize; 2]; 2],
}

/// Settings of `Conv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Conv {
    /// The window.
    pub window: Window,
    /// Number of groups of channels, each convolved with filters of its own.
    pub groups: usize,
}

/// Settings of `MaxPool` and `AveragePool`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pool {
    /// The window.
    pub window: Window,
    /// Whether a last window may reach beyond the padding.
    pub ceil_mode: bool,
    /// Whether means include the padding.
    pub count_include_pad: bool,
}

/// What is put at the ends of axes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum PadMode {
    /// A number.
    Constant(f32),
    /// The value mirrored, without its edge.
    Reflect,
    /// The edge, repeated.
    Edge,
}

/// Settings of `Pad`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Padded {
    /// For each axis, how many entries come before and after.
    pub pads: Vec<[usize; 2]>,
    /// What they are.
    pub mode: PadMode,
}

impl Window {
    /// Returns the pads by side.
    pub const fn sides(&self) -> Pads {
        let [[top, bottom], [left, right]] = self.pads;
        Pads {
            top,
            left,
            bottom,
            right,
        }
    }

    /// Computes the number of positions along an axis of this size:
    /// `(size + pads - dilation · (kernel - 1) - 1) / stride + 1`, rounded down, or up with
    /// `ceil`, where a window that would begin in the padding after the image does not count.
    fn positions(&self, axis: usize, size: usize, ceil: bool) -> Result<usize, RuleError> {
        let [before, after] = self.pads[axis];
        let padded = size.saturating_add(before).saturating_add(after);
        let window = self.kernel[axis]
            .saturating_sub(1)
            .saturating_mul(self.dilations[axis])
            .saturating_add(1);
        let Some(rest) = padded.checked_sub(window) else {
            return Err(RuleError::Window {
                window,
                found: padded,
            });
        };
        let stride = self.strides[axis].max(1);
        let count = if ceil {
            rest.div_ceil(stride)
        } else {
            rest / stride
        };
        let outside = ceil && count.saturating_mul(stride) >= size.saturating_add(before);
        Ok(count.saturating_add(usize::from(!outside)))
    }

    /// Computes rows and columns of the output for an image `[N, C, H, W]`.
    pub(super) fn output(&self, image: &Dims, ceil: bool) -> Result<[Size; 2], RuleError> {
        let [_, _, rows, columns] = image.sizes() else {
            return Err(RuleError::Rank {
                expected: "4",
                found: image.clone(),
            });
        };
        let along = |axis: usize, size: Size| match size {
            Size::Fixed(size) => Ok(Size::Fixed(self.positions(axis, size, ceil)?)),
            Size::Batch(_) => Err(RuleError::Batch {
                axis: axis + 2,
                dims: image.clone(),
            }),
        };
        Ok([along(0, *rows)?, along(1, *columns)?])
    }
}

impl Conv {
    /// Computes the output's shape.
    pub(super) fn output(&self, inputs: &[&Dims]) -> Result<Dims, RuleError> {
        let (image, weight) = match inputs {
            [image, weight] | [image, weight, _] => (*image, *weight),
            _ => {
                return Err(RuleError::Inputs {
                    expected: "2 or 3",
                    found: inputs.len(),
                });
            }
        };
        let [rows, columns] = self.window.output(image, false)?;
        let [filters, depth, kernel @ ..] = weight.sizes() else {
            return Err(RuleError::Rank {
                expected: "4",
                found: weight.clone(),
            });
        };
        if kernel != self.window.kernel.map(Size::Fixed) {
            return Err(RuleError::Setting {
                expected: "a kernel of the weight's rows and columns",
                found: format!("{:?} for {weight}", self.window.kernel),
            });
        }
        let [batch, channels, ..] = image.sizes() else {
            return Err(RuleError::Rank {
                expected: "4",
                found: image.clone(),
            });
        };
        let expected = depth
            .fixed()
            .and_then(|depth| depth.checked_mul(self.groups));
        if expected.map(Size::Fixed) != Some(*channels) {
            return Err(RuleError::Mismatch {
                what: "as many channels as the weight has times groups,",
                expected: expected.map_or(*depth, Size::Fixed),
                found: *channels,
            });
        }
        let divided = filters
            .fixed()
            .is_some_and(|filters| self.groups > 0 && filters.is_multiple_of(self.groups));
        if !divided {
            return Err(RuleError::Setting {
                expected: "groups that divide the filters",
                found: format!("{} for {filters}", self.groups),
            });
        }
        if let [_, _, bias] = inputs
            && bias.sizes() != [*filters]
        {
            return Err(RuleError::Setting {
                expected: "a bias for each filter",
                found: format!("{bias} for {filters}"),
            });
        }
        Ok(vec![*batch, *filters, rows, columns].into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(kernel: usize, stride: usize, pad: usize) -> Window {
        Window {
            kernel: [kernel; 2],
            strides: [stride; 2],
            dilations: [1; 2],
            pads: [[pad; 2]; 2],
        }
    }

    #[test]
    fn convolutions_have_torchs_sizes() {
        let conv = |window, groups| Conv { window, groups };
        let image = Dims::batched([3, 224, 224]);
        let weight = Dims::fixed(&[64, 3, 7, 7]);
        let output = conv(window(7, 2, 3), 1).output(&[&image, &weight]).unwrap();
        assert_eq!(output, Dims::batched([64, 112, 112]));
        let weight = Dims::fixed(&[64, 1, 3, 3]);
        let depthwise = conv(window(3, 1, 1), 64);
        let image = Dims::batched([64, 9, 9]);
        assert_eq!(depthwise.output(&[&image, &weight]), Ok(image.clone()));
        assert!(
            conv(window(3, 1, 1), 32)
                .output(&[&image, &weight])
                .is_err()
        );
        assert!(depthwise.output(&[&Dims::batched([64]), &weight]).is_err());
        let small = Dims::batched([64, 2, 2]);
        assert_eq!(
            conv(window(3, 1, 0), 64).output(&[&small, &weight]),
            Err(RuleError::Window {
                window: 3,
                found: 2
            })
        );
    }

    #[test]
    fn a_rounded_up_pool_has_no_window_in_the_padding() {
        // torch.nn.functional.max_pool2d(x, 3, 2, ceil_mode=True): 112 to 56, 6 to 3, 1 to 1.
        let sizes = [(112, 56), (6, 3), (1, 1)];
        for (size, expected) in sizes {
            let found = window(if size == 1 { 1 } else { 3 }, 2, 0).positions(0, size, true);
            assert_eq!(found, Ok(expected), "{size}");
        }
        // (x, 2, 2, padding=1, ceil_mode=True): 4 to 3; 3 to 2, since the third would begin outside.
        assert_eq!(window(2, 2, 1).positions(0, 4, true), Ok(3));
        assert_eq!(window(2, 2, 1).positions(0, 3, true), Ok(2));
    }
}
