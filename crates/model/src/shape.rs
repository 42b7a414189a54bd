//! Shapes of one sample as it flows through the layers; the batch is never part of them.

use std::fmt;

/// The shape of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Feature maps, in ONNX order: channels, height, width.
    Image {
        /// Number of channels.
        channels: usize,
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
    },
    /// A vector of that many features.
    Vector(usize),
}

impl Shape {
    /// Number of values in one sample.
    pub fn len(self) -> usize {
        match self {
            Self::Image {
                channels,
                height,
                width,
            } => channels * height * width,
            Self::Vector(n) => n,
        }
    }

    /// Whether a sample has no values; never so in a checked model.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The dimensions in ONNX order, without the batch: `[C, H, W]` or `[N]`.
    pub fn dims(self) -> Vec<usize> {
        match self {
            Self::Image {
                channels,
                height,
                width,
            } => vec![channels, height, width],
            Self::Vector(n) => vec![n],
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image {
                channels,
                height,
                width,
            } => write!(f, "[{channels}, {height}, {width}]"),
            Self::Vector(n) => write!(f, "[{n}]"),
        }
    }
}
