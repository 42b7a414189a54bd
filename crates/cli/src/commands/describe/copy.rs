//! A copy that needs nothing beside it.

use kiln_inference::{ModelSpec, Origin};
use kiln_onnx::ModelProto;

use crate::terminal::Terminal;

/// The file with all that is known of the model in its metadata, otherwise the same.
pub fn with_metadata(
    file: &[u8],
    model: &ModelProto,
    spec: &ModelSpec,
    terminal: &Terminal,
) -> anyhow::Result<Vec<u8>> {
    let found = model.metadata()?;
    let metadata = spec.to_metadata(&found);
    if found.golden.is_some() && metadata.golden.is_none() {
        terminal.status(
            "Note",
            "the golden vectors are left out: they were made with other preprocessing or labels",
        );
    }
    if spec.origins.output == Origin::Default {
        terminal.status(
            "Note",
            "nobody says what the output is: it is written as logits (--set output=probabilities)",
        );
    }
    Ok(kiln_onnx::replace_metadata(file, &metadata)?)
}
