//! Why a model cannot be written in another form.

use crate::hint::Hint;

/// Hugging Face's name in messages.
const HUGGING_FACE: &str = "Hugging Face";

/// A model cannot be written in another form.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DescribeError {
    /// A graph that prepares images itself.
    #[error(
        "this model takes uint8 pixels and prepares them itself, Hugging Face's processors return prepared values"
    )]
    Pixels,
    /// A model that takes channels in the other order.
    #[error(
        "Hugging Face's ViTImageProcessor returns channels in the order rgb, this model takes bgr"
    )]
    Bgr,
    /// The metadata cannot be used.
    #[error(transparent)]
    Metadata(#[from] kiln_onnx::MetadataError),
    /// The file cannot be copied.
    #[error(transparent)]
    Decode(#[from] kiln_onnx::DecodeError),
    /// The configuration cannot be written.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl DescribeError {
    /// Returns what to do about it.
    pub const fn hint(&self) -> Option<Hint> {
        match self {
            Self::Pixels => Some(Hint::LeaveOutFormat {
                format: HUGGING_FACE,
                or: None,
            }),
            Self::Bgr => Some(Hint::LeaveOutFormat {
                format: HUGGING_FACE,
                or: Some("export the model with its channels in the order rgb"),
            }),
            Self::Metadata(_) | Self::Decode(_) | Self::Json(_) => None,
        }
    }
}
