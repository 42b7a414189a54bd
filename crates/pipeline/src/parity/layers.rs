//! Which layer makes the difference.

use std::borrow::Cow;
use std::fmt;

use kiln_inference::{EngineId, Model, Options};
use kiln_trainer::Predictor;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::export::TrainedModel;
use crate::tolerance::tolerance;

/// The first layer whose output differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerDifference {
    /// The engine that differs from Burn.
    pub engine: Cow<'static, str>,
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

/// Runs the file with every layer's value as an output, and compares them with Burn's in order.
/// Nothing if all are within the tolerance, as when only the softmax after them differs.
pub fn first_difference(
    trained: &TrainedModel,
    file: &[u8],
    burn: &Predictor,
    pixels: &[f32],
    engine: EngineId,
    options: &Options,
) -> Result<Option<LayerDifference>> {
    let model = Model::from_bytes(
        &with_all_outputs(file)?,
        &options.clone().with_engine(engine),
    )?;
    let images = pixels.len() / trained.model.preprocessing().len();
    let outputs = model.run_named(pixels, images)?;
    let values = trained.export()?.layers;
    let tolerance = tolerance(&trained.model);
    for expected in burn.layer_outputs(pixels)? {
        // Dropout, and a layer whose normalization is folded into it, have no value of their own.
        let Some((_, value)) = values.iter().find(|(layer, _)| *layer == expected.name) else {
            continue;
        };
        let Some(found) = outputs.iter().find(|output| output.name == *value) else {
            continue;
        };
        let agreement = super::agreement(
            &expected.data,
            &found.data,
            expected.data.len() / images,
            tolerance,
        )?;
        if !agreement.passes() {
            let (engine, max_absolute) = (Cow::Borrowed(engine.title()), agreement.max_absolute);
            return Ok(Some(LayerDifference {
                engine,
                layer: expected.name,
                max_absolute,
            }));
        }
    }
    Ok(None)
}

/// The exporter writes down the shape of every layer's value; that is all an output takes.
fn with_all_outputs(file: &[u8]) -> Result<Vec<u8>> {
    let mut model = kiln_onnx::decode(file)?;
    if let Some(graph) = &mut model.graph {
        let values = std::mem::take(&mut graph.value_info);
        graph.output.extend(values);
    }
    Ok(kiln_onnx::encode(&model))
}
