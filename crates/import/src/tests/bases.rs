//! Networks that are not VGG16, made into bases, and those that cannot be.

use kiln_model::{
    Activation, Base, BatchNorm, Conv2d, LayerKind, LayerSpec, MaxPool, Padding, Pool, Relu,
};
use kiln_onnx::{Dim, GraphBuilder, ModelProto, encode};

use super::style::{Between, End, Style};
use super::zoo::{initializer, node};
use crate::{BaseError, GraphError, base, load_base, weights};

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
        // The node's name is taken.
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
fn layers_and_weights_of_a_small_network() {
    let model = finish(small(), "f");
    let base = base("small", &model).unwrap();
    assert_eq!(base, small_base());
    let parameters = weights(&base, &model).unwrap();
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
fn a_classifier_is_left_out() {
    for head in ["Flatten", "Reshape", "GlobalAveragePool", "Gemm"] {
        let mut graph = small();
        graph.node("Identity", "same", &["f"], "g");
        graph
            .node("Transpose", "to_nhwc", &["g"], "h")
            .ints("perm", [0, 2, 3, 1]);
        graph.node(head, "head", &["h"], "out");
        assert_eq!(
            base("small", &finish(graph, "out")).unwrap(),
            small_base(),
            "{head}"
        );
    }
    // As from Keras's `include_top=False`.
    let mut graph = small();
    graph
        .node("Transpose", "to_nhwc", &["f"], "out")
        .ints("perm", [0, 2, 3, 1]);
    assert_eq!(base("small", &finish(graph, "out")).unwrap(), small_base());
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
        assert_eq!(base("small", &finish(graph, "out")).unwrap(), small_base());
    }
}

#[test]
fn vgg16_with_normalization_is_another_base() {
    let style = Style {
        between: Between::BatchNorm,
        end: End::Dense,
        ..Style::KERAS
    };
    let base = base("vgg16-bn", &style.model()).unwrap();
    assert_eq!(base.layers.len(), 13 * 3 + 5);
}

#[test]
fn the_first_node_that_is_no_layer_is_named() {
    let refused = |graph: GraphBuilder, output: &str| {
        base("small", &finish(graph, output))
            .unwrap_err()
            .to_string()
    };
    let mut graph = small();
    graph.node("Sigmoid", "gate", &["f"], "g");
    assert_eq!(
        refused(graph, "g"),
        "expected Conv, BatchNormalization, Relu or MaxPool, found node `gate` (Sigmoid)"
    );
    let mut graph = small();
    graph.node("Relu", "left", &["f"], "g");
    graph.node("Add", "skip", &["f", "g"], "h");
    assert_eq!(
        refused(graph, "h"),
        "expected a chain of layers, found a branch to node `left` (Relu) and node `skip` (Add)"
    );
    let mut graph = small();
    graph.initializer("w3", &[2, 6, 1, 1], vec![0.0_f32; 12]);
    graph.node("Conv", "last", &["f", "w3"], "g");
    assert_eq!(
        refused(graph, "g"),
        "node `last` (Conv) has input channels 6, expected 5"
    );
    let mut graph = GraphBuilder::new("none");
    graph.input("input", Dim::batched([1, 28, 28]));
    graph.node("Relu", "relu", &["input"], "a");
    assert_eq!(
        base("none", &finish(graph, "a")),
        Err(GraphError::NoWeights)
    );
}

#[test]
fn normalizations_that_are_not_ones_for_inference() {
    let with = |change: fn(&mut ModelProto)| {
        let mut model = finish(small(), "f");
        change(&mut model);
        base("small", &model).unwrap_err().to_string()
    };
    let message = with(|model| node(model, "norm:1").attribute[0].f = Some(0.0));
    assert!(
        message.ends_with("has epsilon 0.0, expected a number above 0"),
        "{message}"
    );
    let message = with(|model| node(model, "norm:1").attribute[1].f = Some(f32::NAN));
    assert!(
        message.ends_with("has momentum NaN, expected a number of at least 0 and below 1"),
        "{message}"
    );
    let message = with(|model| initializer(model, "mean").dims = vec![2, 2]);
    assert!(
        message.ends_with("has a parameter of shape [2, 2], expected [4]"),
        "{message}"
    );
    let message = with(|model| node(model, "norm:1").input.truncate(4));
    assert!(
        message.contains("needs its running_var as an initializer"),
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
        "at norm_1: node `norm:1` (BatchNormalization) has epsilon 0.00001, expected 0.001"
    );
    let grey = Base {
        channels: 3,
        ..small_base()
    };
    let message = weights(&grey, &finish(small(), "f"))
        .unwrap_err()
        .to_string();
    assert_eq!(
        message,
        "at features_0_Conv: node `/features/0/Conv` (Conv) has channels 1, expected 3"
    );
}

#[test]
fn a_file_is_called_after_its_stem() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, model: &ModelProto| {
        let path = folder.path().join(name);
        std::fs::write(&path, encode(model)).unwrap();
        path
    };
    let model = finish(small(), "f");
    let path = write("small.onnx", &model);
    assert_eq!(load_base(&path, &[Base::vgg16()]).unwrap(), small_base());
    let error = load_base(&path, &[small_base()]).unwrap_err();
    assert!(
        matches!(&error, BaseError::Taken { name, .. } if name == "small"),
        "{error}"
    );
    let error = load_base(&write("a net.onnx", &model), &[]).unwrap_err();
    assert!(matches!(error, BaseError::Name { .. }), "{error}");
    let error = load_base(&folder.path().join("none.onnx"), &[]).unwrap_err();
    assert!(matches!(error, BaseError::Load(_)), "{error}");
    let mut infinite = model.clone();
    *initializer(&mut infinite, "b2") =
        kiln_onnx::TensorProto::from_f32("b2", &[5], &[f32::INFINITY; 5]);
    let error = load_base(&write("infinite.onnx", &infinite), &[])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("infinite.onnx` cannot be a backbone: at layer_input: node `input` (Conv)"),
        "{error}"
    );
    assert!(error.ends_with("see docs/backbones.md"), "{error}");
    let mut graph = GraphBuilder::new("wide");
    graph
        .input("input", Dim::batched([2, 8, 8]))
        .initializer("w", &[1, 2, 1, 1], vec![0.0_f32; 2]);
    graph.node("Conv", "conv", &["input", "w"], "out");
    let error = load_base(&write("wide.onnx", &finish(graph, "out")), &[]).unwrap_err();
    assert!(
        matches!(error, BaseError::Channels { found: 2, .. }),
        "{error}"
    );
}
