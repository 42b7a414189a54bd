//! The layers of a network in front of its classifier.

use std::path::Path;

use kiln_model::{Base, LayerSpec, Recipe};
use kiln_onnx::ModelProto;

use crate::error::{BaseError, GraphError, WeightsError};
use crate::names::names;
use crate::reader::Reader;
use crate::weights::weights;

/// The base of a network, called `name`: its layers from the image on, as far as a classifier or
/// the end of the graph. Layers are called after the graph's nodes.
pub fn base(name: &str, model: &ModelProto) -> Result<Base, GraphError> {
    let mut reader = Reader::new(model)?;
    let mut found = Vec::new();
    while !reader.at_head()
        && let Some(layer) = reader.next()?
    {
        found.push(layer);
    }
    let [channels, _] = found
        .iter()
        .find_map(|layer| layer.channels)
        .ok_or(GraphError::NoWeights)?;
    let names = names(&found);
    let layers = names.into_iter().zip(found).map(|(name, layer)| LayerSpec {
        name: Some(name),
        kind: layer.kind,
    });
    Ok(Base {
        name: name.into(),
        channels,
        weights: None,
        layers: layers.collect(),
    })
}

/// Reads the base that an ONNX file holds, called after the file, to be known beside `others`. The
/// file must hold weights as well, though they are not kept.
pub fn load_base(path: &Path, others: &[Base]) -> Result<Base, BaseError> {
    let model = kiln_onnx::load(path)?;
    let name = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .filter(|stem| Recipe::is_name(stem));
    let name = name.ok_or_else(|| BaseError::Name { path: path.into() })?;
    if others.iter().any(|other| other.name == name) {
        return Err(BaseError::Taken {
            path: path.into(),
            name: name.into(),
        });
    }
    let fail = |source: WeightsError| BaseError::Graph {
        path: path.into(),
        source: source.into(),
    };
    let base = base(name, &model).map_err(|source| fail(source.into()))?;
    // Whoever compiles a file in wants to train with it: better to hear now that it cannot be.
    weights(&base, &model).map_err(fail)?;
    match base.channels {
        1 | 3 => Ok(base),
        found => Err(BaseError::Channels {
            path: path.into(),
            found,
        }),
    }
}
