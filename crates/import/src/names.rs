//! Names of layers.

use kiln_model::{LayerSpec, layer_names};

use crate::reader::Found;

/// Names for layers: their nodes', made into what a layer can be called; Keras's for those without
/// one of their own.
pub fn names(layers: &[Found<'_>]) -> Vec<String> {
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
