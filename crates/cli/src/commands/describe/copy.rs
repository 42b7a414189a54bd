//! A copy that needs nothing beside it.

use kiln_inference::Contract;
use kiln_onnx::ModelProto;

/// The file with all that is known of the model in its metadata, otherwise the same.
pub fn with_metadata(file: &[u8], model: &ModelProto, contract: &Contract) -> anyhow::Result<Vec<u8>> {
    let metadata = contract.to_metadata(&model.metadata()?);
    Ok(kiln_onnx::replace_metadata(file, &metadata)?)
}
