//! Networks that are not VGG16, and files that are not theirs.

use kiln_model::{
    Activation, Base, BatchNorm, Conv2d, LayerKind, LayerSpec, MaxPool, Padding, Pool, Relu,
};
use kiln_onnx::{Dim, GraphBuilder, ModelProto, TensorProto, decode, encode};
use proptest::prelude::*;

use super::style::{Between, End, Style};
use super::zoo::{initializer, node};
use crate::graph::find;
use crate::{GraphError, WeightsError, weights};

/// A small network that ends at value `f`. Its weights are 0, 1, 2, … in the order of the tensors.
fn small() -> GraphBuilder {
    let mut graph = GraphBuilder::new("small");
    graph.input("input", Dim::batched([1, 28, 28]));
    let mut next = 0_u16;
    let mut weight = |graph: &mut GraphBuilder, name: &str, shape: &[usize]| {
        let values: Vec<f32> = (next..)
            .take(shape.iter().product())
            .map(f32::from)
            .collect();
        next += values.len() as u16;
        graph.initializer(name, shape, values);
    };
    weight(&mut graph, "w1", &[4, 1, 3, 4]);
    graph
        .node("Conv", "/features/0/Conv", &["input", "w1"], "a")
        .ints("pads", [1, 1, 1, 2]);
    for parameter in ["scale", "shift", "mean", "variance"] {
        weight(&mut graph, parameter, &[4]);
    }
    let norm = &mut graph.node(
        "BatchNormalization",
        "norm:1",
        &["a", "scale", "shift", "mean", "variance"],
        "b",
    );
    norm.float("epsilon", 0.001).float("momentum", 0.99);
    graph.node("Relu", "norm/1", &["b"], "c");
    graph
        .node("MaxPool", "pool", &["c"], "d")
        .ints("kernel_shape", [3, 2])
        .ints("strides", [2, 2]);
    weight(&mut graph, "w2", &[5, 4, 1, 1]);
    weight(&mut graph, "b2", &[5]);
    graph
        .node("Conv", "input", &["d", "w2", "b2"], "e")
        .ints("strides", [2, 2]);
    graph.node("Relu", "relu", &["e"], "f");
    graph
}

fn finish(mut graph: GraphBuilder, output: &str) -> ModelProto {
    graph.output(output, [Dim::Unknown]);
    graph.finish().unwrap()
}

fn small_base() -> Base {
    let conv = |filters, kernel_size, strides, padding, use_bias, activation| {
        LayerKind::Conv2d(Conv2d {
            strides,
            padding,
            use_bias,
            activation,
            ..Conv2d::of_size(filters, kernel_size)
        })
    };
    let layers = [
        (
            "features_0_Conv",
            conv(4, [3, 4], [1, 1], Padding::Same, false, None),
        ),
        (
            "norm_1",
            LayerKind::BatchNorm(BatchNorm {
                momentum: 0.99,
                epsilon: 0.001,
            }),
        ),
        ("relu", LayerKind::Relu(Relu {})),
        (
            "pool",
            LayerKind::MaxPool(MaxPool(Pool {
                strides: [2, 2],
                ..Pool::of_size([3, 2])
            })),
        ),
        (
            "layer_input",
            conv(
                5,
                [1, 1],
                [2, 2],
                Padding::Valid,
                true,
                Some(Activation::Relu),
            ),
        ),
    ];
    let layers = layers.map(|(name, kind)| LayerSpec {
        name: Some(name.into()),
        kind,
    });
    Base {
        name: "small".into(),
        channels: 1,
        weights: None,
        layers: layers.into(),
        file: None,
    }
}

#[test]
fn weights_of_a_small_network() {
    let parameters = weights(&small_base(), &finish(small(), "f")).unwrap();
    let found: Vec<_> = parameters
        .iter()
        .map(|p| (p.name.as_str(), p.shape.as_slice()))
        .collect();
    let expected: [(&str, &[usize]); 7] = [
        ("features_0_Conv.weight", &[4, 1, 3, 4]),
        ("norm_1.weight", &[4]),
        ("norm_1.bias", &[4]),
        ("norm_1.running_mean", &[4]),
        ("norm_1.running_var", &[4]),
        ("layer_input.weight", &[5, 4, 1, 1]),
        ("layer_input.bias", &[5]),
    ];
    assert_eq!(found, expected);
    let values: Vec<f32> = parameters
        .into_iter()
        .flat_map(|parameter| parameter.values)
        .collect();
    assert_eq!(
        values,
        (0..48 + 16 + 20 + 5)
            .map(|value| value as f32)
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_classifier_does_not_matter() {
    let accept = |graph: GraphBuilder, output: &str| {
        let found = weights(&small_base(), &finish(graph, output));
        assert_eq!(found.map(|parameters| parameters.len()), Ok(7));
    };
    for head in ["Flatten", "Reshape", "GlobalAveragePool", "Gemm", "Sigmoid"] {
        let mut graph = small();
        graph.node("Identity", "same", &["f"], "g");
        graph
            .node("Transpose", "to_nhwc", &["g"], "h")
            .ints("perm", [0, 2, 3, 1]);
        graph.node(head, "head", &["h"], "out");
        accept(graph, "out");
    }
    // As from Keras's `include_top=False`.
    let mut graph = small();
    graph
        .node("Transpose", "to_nhwc", &["f"], "out")
        .ints("perm", [0, 2, 3, 1]);
    accept(graph, "out");
    // As PyTorch's `x.view(x.size(0), -1)` and tf2onnx's of NHWC features: they go two ways.
    for nhwc in [false, true] {
        let mut graph = small();
        graph.node("Shape", "size", &["f"], "g");
        graph.node(
            if nhwc { "Transpose" } else { "Identity" },
            "to_nhwc",
            &["f"],
            "h",
        );
        graph.node("Reshape", "view", &["h", "g"], "out");
        accept(graph, "out");
    }
}

#[test]
fn vgg16_with_normalization_is_another_base() {
    let style = Style {
        between: Between::BatchNorm,
        end: End::Dense,
        ..Style::KERAS
    };
    let unnamed = |kind| LayerSpec { name: None, kind };
    let mut base = Base::vgg16();
    let layers = base.layers.into_iter().flat_map(|mut layer| {
        let mut layers = vec![layer.clone()];
        if let LayerKind::Conv2d(conv) = &mut layer.kind {
            conv.activation = None;
            let norm = LayerKind::BatchNorm(BatchNorm {
                momentum: 0.99,
                epsilon: 1e-5,
            });
            layers = vec![layer, unnamed(norm), unnamed(LayerKind::Relu(Relu {}))];
        }
        layers
    });
    base.layers = layers.collect();
    let model = style.model();
    assert_eq!(find(&base, &model).unwrap().len(), 13 * 6);
}

/// The error about a small graph of these changes, read as the small network with one more layer.
fn refused(graph: GraphBuilder, output: &str) -> String {
    let mut base = small_base();
    base.layers.push(LayerSpec {
        name: Some("last".into()),
        kind: LayerKind::Conv2d(Conv2d::of_size(2, [1, 1])),
    });
    let error = weights(&base, &finish(graph, output)).unwrap_err();
    error.to_string()
}

#[test]
fn the_first_node_that_is_another_layer_is_named() {
    let mut graph = small();
    graph.node("Sigmoid", "gate", &["f"], "g");
    assert_eq!(
        refused(graph, "g"),
        "at last: expected conv2d, found node `gate` (Sigmoid)"
    );
    assert_eq!(
        refused(small(), "f"),
        "at last: expected conv2d, found the end of the graph"
    );
    let mut graph = small();
    graph.node("Sigmoid", "left", &["f"], "g");
    graph.node("Add", "skip", &["f", "g"], "h");
    assert_eq!(
        refused(graph, "h"),
        "at last: expected a chain of layers, found a branch to node `left` (Sigmoid) and node `skip` (Add)"
    );
    let mut graph = small();
    graph.initializer("w3", &[2, 6, 1, 1], vec![0.0_f32; 12]);
    graph.node("Conv", "last", &["f", "w3"], "g");
    assert_eq!(
        refused(graph, "g"),
        "at last: node `last` (Conv): expected as many channels as the weight has times groups, 6, found 5"
    );
}

#[test]
fn a_computed_weight_is_read() {
    let mut graph = small();
    graph
        .initializer(
            "w3",
            &[1, 5, 1, 2],
            (0..10_u8).map(f32::from).collect::<Vec<_>>(),
        )
        .initializer("b3", &[2], vec![0.0_f32; 2]);
    graph
        .node("Transpose", "filters", &["w3"], "w")
        .ints("perm", [3, 1, 0, 2]);
    graph.node("Conv", "last", &["f", "w", "b3"], "g");
    let mut base = small_base();
    base.layers.push(LayerSpec {
        name: Some("last".into()),
        kind: LayerKind::Conv2d(Conv2d::of_size(2, [1, 1])),
    });
    let parameters = weights(&base, &finish(graph, "g")).unwrap();
    let weight = &parameters[7];
    assert_eq!(
        (weight.name.as_str(), &weight.shape[..]),
        ("last.weight", &[2, 5, 1, 1][..])
    );
    assert_eq!(
        weight.values,
        [0.0, 2.0, 4.0, 6.0, 8.0, 1.0, 3.0, 5.0, 7.0, 9.0]
    );
}

#[test]
fn normalizations_that_are_not_ones_for_inference() {
    let with = |change: fn(&mut ModelProto)| {
        let mut model = finish(small(), "f");
        change(&mut model);
        weights(&small_base(), &model).map_err(|error| error.to_string())
    };
    let message = with(|model| node(model, "norm:1").attribute[0].f = Some(0.0)).unwrap_err();
    assert!(
        message.ends_with("has epsilon 0.0, expected 0.001"),
        "{message}"
    );
    // The base has its own.
    assert!(with(|model| node(model, "norm:1").attribute[1].f = Some(f32::NAN)).is_ok());
    let message = with(|model| initializer(model, "mean").dims = vec![2, 2]).unwrap_err();
    assert!(
        message.ends_with("expected a value of 1 axes, found [2, 2]"),
        "{message}"
    );
    let message = with(|model| node(model, "norm:1").input.truncate(4)).unwrap_err();
    assert!(
        message.ends_with("node `norm:1` (BatchNormalization): expected 5 inputs, found 4"),
        "{message}"
    );
    // Without a shape, the graph alone cannot tell.
    let message = with(|model| {
        model.graph.as_mut().unwrap().input[0].r#type = None;
        node(model, "norm:1").input.truncate(4);
    });
    let message = message.unwrap_err();
    assert!(
        message.contains("needs its running_var as an initializer"),
        "{message}"
    );
    let training = with(|model| {
        let node = node(model, "norm:1");
        let mut mode = node.attribute[0].clone();
        (mode.name, mode.f, mode.i) = ("training_mode".into(), None, Some(1));
        node.attribute.push(mode);
    });
    let message = training.unwrap_err();
    assert!(
        message.ends_with("has training_mode 1, expected 0"),
        "{message}"
    );
}

#[test]
fn another_epsilon_is_another_network() {
    let mut model = finish(small(), "f");
    node(&mut model, "norm:1").attribute[0].f = Some(1e-5);
    let message = weights(&small_base(), &model).unwrap_err().to_string();
    assert_eq!(
        message,
        "at norm_1: node `norm:1` (BatchNormalization) has epsilon 1e-5, expected 0.001"
    );
    let color = Base {
        channels: 3,
        ..small_base()
    };
    let message = weights(&color, &finish(small(), "f"))
        .unwrap_err()
        .to_string();
    assert_eq!(
        message,
        "at features_0_Conv: node `/features/0/Conv` (Conv) has channels 1, expected 3"
    );
}

#[test]
fn infinite_weights_are_refused() {
    let mut model = finish(small(), "f");
    *initializer(&mut model, "b2") = TensorProto::from_f32("b2", &[5], &[f32::INFINITY; 5]);
    assert!(matches!(
        weights(&small_base(), &model),
        Err(WeightsError::At { layer, source: GraphError::NotFinite { .. } }) if layer == "layer_input"
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// A damaged file is refused, or the base's parameters come out of it, finite.
    #[test]
    fn changed_bytes_give_all_weights_or_none(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let base = small_base();
        let model = finish(small(), "f");
        let shapes: Vec<_> = weights(&base, &model).unwrap().into_iter().map(|p| p.shape).collect();
        let mut bytes = encode(&model);
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(parameters) = decode(&bytes).map_err(drop).and_then(|model| weights(&base, &model).map_err(drop)) {
            for (parameter, shape) in parameters.iter().zip(&shapes) {
                prop_assert_eq!(&parameter.shape, shape);
                prop_assert_eq!(parameter.values.len(), shape.iter().product::<usize>());
                prop_assert!(parameter.values.iter().all(|value| value.is_finite()));
            }
            prop_assert_eq!(parameters.len(), shapes.len());
        }
    }
}
