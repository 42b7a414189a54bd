//! The layers of a network before its classifier.

use std::path::Path;

use kiln_model::{Base, LayerSpec, Recipe, layer_names};
use kiln_onnx::ModelProto;

use crate::error::{BaseError, GraphError, WeightsError};
use crate::ops::Found;
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
        file: None,
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
    // A file is compiled in to train with it: an error now is better than one then.
    weights(&base, &model).map_err(fail)?;
    match base.channels {
        1 | 3 => Ok(base),
        found => Err(BaseError::Channels {
            path: path.into(),
            found,
        }),
    }
}

/// Names for layers: their nodes', made into what a layer can be called; Keras's for those without
/// one of their own.
fn names(layers: &[Found<'_>]) -> Vec<String> {
    let mut given: Vec<Option<String>> = Vec::with_capacity(layers.len());
    for layer in layers {
        let name = valid(&layer.node.name)
            .filter(|name| !given.iter().flatten().any(|other| other == name));
        given.push(name);
    }
    let given: Vec<_> = layers
        .iter()
        .zip(&given)
        .map(|(layer, name)| (layer.kind.type_name(), name.as_deref()))
        .collect();
    layer_names(&given)
}

/// A node's name with `_` for what a layer's name cannot have: `features_0_Conv` for
/// `/features/0/Conv`.
fn valid(node: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let parts: Vec<&str> = node
        .split(|c| !plain(c))
        .filter(|part| !part.is_empty())
        .collect();
    let name = parts.join("_");
    let name = if LayerSpec::is_name(&name) {
        name
    } else {
        format!("layer_{name}")
    };
    (!parts.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_valid() {
        for (node, name) in [
            ("block1_conv1", Some("block1_conv1")),
            (
                "/features/features.0/Conv",
                Some("features_features_0_Conv"),
            ),
            (
                "functional_1/block1_conv1_1/BiasAdd:0",
                Some("functional_1_block1_conv1_1_BiasAdd_0"),
            ),
            ("0", Some("layer_0")),
            ("input", Some("layer_input")),
            ("", None),
            ("//", None),
        ] {
            assert_eq!(valid(node).as_deref(), name);
            assert!(name.is_none_or(LayerSpec::is_name), "{name:?}");
        }
    }
}
