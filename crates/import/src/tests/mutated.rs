//! Damaged files are refused or read, never a panic.

use kiln_model::Base;
use kiln_onnx::{ModelProto, decode, encode};
use proptest::prelude::*;

use super::style::{Between, Padding, Style, Weights};
use crate::{GraphError, Parameter, WeightsError};

fn read(model: &ModelProto) -> Result<Vec<Parameter>, WeightsError> {
    crate::weights(&Base::vgg16(), model)
}

fn styles() -> impl Strategy<Value = Style> {
    let padding = prop::sample::select(vec![
        Padding::Explicit,
        Padding::Auto("SAME_LOWER"),
        Padding::PadInputs,
        Padding::PadAxes,
        Padding::PadAttributes,
    ]);
    let weights = prop::sample::select(vec![
        Weights::Initializer,
        Weights::Constant,
        Weights::Identity,
    ]);
    let between = prop::sample::select(vec![Between::Nothing, Between::Identity]);
    let settings = (any::<bool>(), padding, weights, any::<bool>(), between);
    settings.prop_map(|(nhwc, padding, weights, add, between)| Style {
        nhwc,
        padding,
        weights,
        add,
        between,
        ..Style::TORCHVISION
    })
}

proptest! {
    #[test]
    fn whichever_way_it_is_written_the_convolutions_are_found(style in styles()) {
        let error = read(&style.model()).unwrap_err();
        prop_assert!(matches!(error, WeightsError::At { source: GraphError::Tensor { .. }, .. }), "the values alone should be missing: {error}");
    }

    #[test]
    fn changed_bytes_never_panic(
        style in styles(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = encode(&style.model());
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(model) = decode(&bytes) {
            // The models have no values, so that none can be read.
            prop_assert!(read(&model).is_err());
        }
    }

    /// Damage that protobuf does not notice: attributes, shapes and edges.
    #[test]
    fn changed_graphs_never_panic(
        style in styles(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..5, any::<i64>(), any::<prop::sample::Index>()), 1..4),
    ) {
        let mut model = style.model();
        let graph = model.graph.as_mut().unwrap();
        for (node, kind, value, other) in edits {
            let other = graph.node[other.index(graph.node.len())].output.first().cloned().unwrap_or_default();
            let node = node.get_mut(&mut graph.node);
            match kind {
                0 => node.attribute.iter_mut().for_each(|attribute| attribute.ints.iter_mut().for_each(|i| *i = value)),
                1 => node.attribute.iter_mut().for_each(|attribute| attribute.ints.truncate(value as usize % 4)),
                2 => node.input.iter_mut().for_each(|input| input.clone_from(&other)),
                3 => node.output.clear(),
                _ => graph.initializer.iter_mut().for_each(|tensor| tensor.dims.push(value)),
            }
        }
        prop_assert!(read(&model).is_err());
    }
}
