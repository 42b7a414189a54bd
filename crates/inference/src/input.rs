//! What a graph takes: prepared values, or pixels that it prepares itself.

use kiln_onnx::{DataType, TensorInfo};
use kiln_preprocess::to_pixels;

/// What the input of a graph holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputKind {
    /// Prepared values: float32 `[batch, channels, height, width]`.
    Values,
    /// Pixels of 0 to 255: uint8 `[batch, height, width, channels]`. The graph does the rest of the preprocessing.
    Pixels,
}

/// The input of one run, in the graph's type and layout.
#[derive(Debug, Clone, PartialEq)]
pub enum Input<'a> {
    /// Prepared values.
    F32(&'a [f32]),
    /// Pixels.
    U8(Vec<u8>),
}

impl InputKind {
    /// What a graph with these inputs takes.
    pub fn of(inputs: &[TensorInfo]) -> Self {
        match inputs {
            [TensorInfo { data_type: Some(DataType::Uint8), .. }] => Self::Pixels,
            _ => Self::Values,
        }
    }

    /// The type of its elements.
    pub const fn data_type(self) -> DataType {
        match self {
            Self::Values => DataType::Float,
            Self::Pixels => DataType::Uint8,
        }
    }

    /// The type as messages call it.
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::Values => "float32",
            Self::Pixels => "uint8",
        }
    }

    /// The axes behind the batch, in the graph's order, of images `[channels, height, width]`.
    pub const fn axes(self, [channels, height, width]: [usize; 3]) -> [usize; 3] {
        match self {
            Self::Values => [channels, height, width],
            Self::Pixels => [height, width, channels],
        }
    }

    /// The input for images `[images, channels, height, width]` of this shape.
    pub fn of_values(self, values: &[f32], shape: [usize; 3]) -> Input<'_> {
        match self {
            Self::Values => Input::F32(values),
            Self::Pixels => Input::U8(to_pixels(values, shape)),
        }
    }
}
