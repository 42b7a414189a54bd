//! Where a backbone's weights come from.

use std::path::PathBuf;

use kiln_assets::Asset;
use kiln_model::Backbone;
use kiln_run::Weights;

use crate::context::Context;
use crate::error::Result;

/// Reads the weights from the ONNX file that the recipe names, by path or as an asset.
pub fn weights(backbone: &Backbone, context: &Context<'_>) -> Result<Weights> {
    let path = PathBuf::from(&backbone.weights);
    let path = if Asset::NAMES.contains(&backbone.weights.as_str()) && !path.exists() {
        let fetched = context.assets.require(
            &Asset::named(&backbone.weights)?,
            context.observer,
            &context.cancel,
        )?;
        fetched
            .files
            .into_iter()
            .map(|file| file.path)
            .next()
            .unwrap_or(path)
    } else {
        path
    };
    Ok(kiln_trainer::backbone_weights(&backbone.base, &path)?)
}
