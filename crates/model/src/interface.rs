//! What a graph takes and gives, in a word each.

/// The order of the axes of a graph's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `[batch, channels, height, width]`: PyTorch's, and kiln's own.
    Nchw,
    /// `[batch, height, width, channels]`: TensorFlow's and Keras's.
    Nhwc,
}

kiln_util::str_enum!(Layout { Nchw = "nchw", Nhwc = "nhwc" });

impl Layout {
    /// The shape of one image in this order of axes.
    pub const fn image_shape(self, [channels, height, width]: [usize; 3]) -> [usize; 3] {
        match self {
            Self::Nchw => [channels, height, width],
            Self::Nhwc => [height, width, channels],
        }
    }
}

/// What a classifier's output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputKind {
    /// Unnormalised scores; softmax makes probabilities of them.
    Logits,
    /// Probabilities: the graph ends in a softmax.
    Probabilities,
}

kiln_util::str_enum!(OutputKind { Logits = "logits", Probabilities = "probabilities" });
