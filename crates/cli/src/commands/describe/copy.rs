//! A copy that needs nothing beside it.

use kiln_inference::Contract;
use kiln_onnx::ModelProto;

use crate::terminal::Terminal;

/// The file with all that is known of the model in its metadata, otherwise the same.
pub fn with_metadata(
    file: &[u8],
    model: &ModelProto,
    contract: &Contract,
    terminal: &Terminal,
) -> anyhow::Result<Vec<u8>> {
    let found = model.metadata()?;
    let metadata = contract.to_metadata(&found);
    if found.golden.is_some() && metadata.golden.is_none() {
        terminal.status("Note", "the golden vectors are left out: they were made with other preprocessing or labels");
    }
    Ok(kiln_onnx::replace_metadata(file, &metadata)?)
}
