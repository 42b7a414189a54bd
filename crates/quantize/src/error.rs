//! Why a model cannot be made smaller.

use kiln_onnx::TensorError;

/// A model that cannot be made smaller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// The operator set is too old for a scale of each channel.
    #[error(
        "opset {found} has no scale for each channel of a weight: opset {needed} or later is needed"
    )]
    Opset {
        /// The file's.
        found: i64,
        /// The oldest that has it.
        needed: i64,
    },
    /// The model has 8-bit operators already.
    #[error("the model is quantized already: {node}")]
    Quantized {
        /// The first such node.
        node: String,
    },
    /// Nothing in the graph could be in 8 bits.
    #[error("no convolution, dense layer or matrix product with weights in float32 was found")]
    Nothing,
    /// A value for which nothing was observed.
    #[error("nothing was observed of the value `{value}`")]
    Unobserved {
        /// The value.
        value: String,
    },
    /// A value that is not finite on a calibration image.
    #[error("the value `{value}` is {found} on a calibration image")]
    NotFinite {
        /// The value.
        value: String,
        /// What it is, such as `NaN`.
        found: String,
    },
    /// Weights that are not finite.
    #[error("the weights `{name}` are not all finite")]
    Weights {
        /// Their name.
        name: String,
    },
    /// Weights that half precision does not hold.
    #[error("the weights `{name}` reach {largest}, beyond the 65504 of half precision")]
    TooLarge {
        /// Their name.
        name: String,
        /// The largest of them.
        largest: String,
    },
    /// A tensor that cannot be read.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}
