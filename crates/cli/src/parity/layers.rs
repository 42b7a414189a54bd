//! Which layer makes the difference.

use std::fmt;

use kiln_eval::Agreement;
use kiln_inference::{EngineChoice, Model, Options};
use kiln_trainer::Predictor;
use serde::Serialize;

use super::TOLERANCE;
use crate::commands::Trained;
use crate::engines;

/// The first layer whose output differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerDifference {
    /// The engine that differs from Burn.
    pub engine: &'static str,
    /// The layer's name.
    pub layer: String,
    /// Largest difference of its outputs.
    pub max_absolute: f64,
}

impl fmt::Display for LayerDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the first layer that differs between Burn and {} is `{}`: by up to {:.3e}",
            self.engine, self.layer, self.max_absolute
        )
    }
}

/// Exports the model with every layer as an output and compares them in order. Nothing if all are within the tolerance,
/// as may be when the difference is in the last operation's rounding only.
pub fn first_difference(
    trained: &Trained,
    burn: &Predictor,
    pixels: &[f32],
    engine: EngineChoice,
    options: &Options,
) -> anyhow::Result<Option<LayerDifference>> {
    let exported = trained.export(true)?;
    let bytes = kiln_onnx::encode(&exported.proto);
    let model = Model::from_bytes(&bytes, &Options { engine, ..options.clone() })?;
    let images = pixels.len() / trained.model.preprocessing().len();
    let outputs = model.run_named(pixels, images)?;
    for expected in burn.layer_outputs(pixels) {
        // Dropout, and normalisation folded into the layer before it, have no value of their own.
        let Some((_, value)) = exported.layers.iter().find(|(layer, _)| *layer == expected.name) else { continue };
        let Some(found) = outputs.iter().find(|output| output.name == *value) else { continue };
        let agreement = Agreement::between(&expected.data, &found.data, expected.data.len() / images)?;
        if !agreement.passes(TOLERANCE) {
            return Ok(Some(LayerDifference {
                engine: engines::title(engine),
                layer: expected.name,
                max_absolute: agreement.max_absolute,
            }));
        }
    }
    Ok(None)
}
