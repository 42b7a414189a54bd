//! Keys of a model file's provenance, and what they say.

use kiln_onnx::Metadata;

/// The layer whose output a file takes as its input, where that is no image.
pub(crate) const FEATURES: &str = "features";

/// What the keys of data files' checksums begin with.
#[cfg(feature = "training")]
pub(crate) const DATA: &str = "data:";

/// What the keys of frozen tensors' checksums begin with.
pub(crate) const FROZEN: &str = "frozen:";

/// Returns the layer whose output a file takes, if it holds only a model's head.
pub fn head_input(metadata: &Metadata) -> Option<&str> {
    let no_image = metadata.preprocessing.is_none();
    metadata
        .provenance
        .get(FEATURES)
        .filter(|_| no_image)
        .map(String::as_str)
}
