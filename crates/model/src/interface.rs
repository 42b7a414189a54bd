//! Layout of a graph's input, meaning of its output and names of its classes.

use std::collections::HashMap;

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
    /// Returns the shape of one image in this order of axes.
    pub const fn image_shape(self, [channels, height, width]: [usize; 3]) -> [usize; 3] {
        match self {
            Self::Nchw => [channels, height, width],
            Self::Nhwc => [height, width, channels],
        }
    }
}

/// Meaning of a classifier's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputKind {
    /// Unnormalized scores; softmax makes probabilities of them.
    Logits,
    /// Probabilities: the graph ends in a softmax.
    Probabilities,
}

kiln_util::str_enum!(OutputKind { Logits = "logits", Probabilities = "probabilities" });

/// Finds the first class that has the name of another, and returns the numbers of both from 0, the
/// earlier one first.
pub fn repeated_label(labels: &[String]) -> Option<[usize; 2]> {
    let mut seen = HashMap::with_capacity(labels.len());
    labels
        .iter()
        .enumerate()
        .find_map(|(at, label)| seen.insert(label, at).map(|before| [before, at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_that_comes_again_is_found() {
        let labels = |names: &str| names.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(repeated_label(&labels("a b c b a")), Some([1, 3]));
        assert_eq!(repeated_label(&labels("a A b")), None);
        assert_eq!(repeated_label(&[]), None);
    }
}
