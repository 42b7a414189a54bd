//! A copy that needs nothing beside it.

use kiln_inference::{ModelSpec, Origin};
use kiln_onnx::ModelProto;

use super::described::{ConversionNote, Converted};
use crate::error::models::DescribeError;

/// Copies a file, with all that is known of the model in its metadata, otherwise the same.
pub fn with_metadata(
    file: &[u8],
    model: &ModelProto,
    spec: &ModelSpec,
) -> Result<Converted, DescribeError> {
    let found = model.metadata()?;
    let metadata = spec.to_metadata(&found);
    let dropped = found.golden.is_some() && metadata.golden.is_none();
    let assumed = spec.origins.output == Origin::Default;
    let notes = [
        dropped.then_some(ConversionNote::GoldenVectorsDropped),
        assumed.then_some(ConversionNote::AssumedLogits),
    ];
    Ok(Converted {
        bytes: kiln_onnx::replace_metadata(file, &metadata)?,
        notes: notes.into_iter().flatten().collect(),
    })
}
