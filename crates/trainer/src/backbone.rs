//! The weights of a pretrained base.

use std::path::Path;

use kiln_import::Parameter;
use kiln_model::Base;
use kiln_run::{Tensor, Weights};

use crate::TrainError;

/// Reads a base's weights, by the names of its layers, from any ONNX file of that network.
pub fn backbone_weights(base: &Base, path: &Path) -> Result<Weights, TrainError> {
    let parameters = kiln_import::weights(base, &kiln_onnx::load(path)?).map_err(|source| {
        TrainError::Backbone {
            path: path.into(),
            name: base.name.clone(),
            asset: base.weights.clone(),
            source: source.into(),
        }
    })?;
    let tensor = |Parameter {
                      name,
                      shape,
                      values,
                  }| {
        (
            name,
            Tensor {
                shape,
                data: values,
            },
        )
    };
    Ok(parameters.into_iter().map(tensor).collect())
}
