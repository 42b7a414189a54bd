//! Networks that are not VGG16, and files that cannot be read, with their errors.

use kiln_model::Base;
use kiln_onnx::{DataType, Dim, GraphBuilder, ModelProto, StructureError, TensorError};

use super::style::{Between, Padding, Style, Weights};
use super::zoo::{initializer, node, open_size};
use crate::{GraphError, Parameter, WeightsError};

fn read(model: &ModelProto) -> Result<Vec<Parameter>, WeightsError> {
    crate::weights(&Base::vgg16(), model)
}

#[track_caller]
fn refuse(model: &ModelProto, expected: &str) {
    assert_eq!(read(model).unwrap_err().to_string(), expected);
}

fn with(change: impl FnOnce(&mut ModelProto)) -> ModelProto {
    let mut model = Style::TORCHVISION.model();
    change(&mut model);
    model
}

fn set(model: &mut ModelProto, name: &str, attribute: &str, ints: &[i64]) {
    let attributes = &mut node(model, name).attribute;
    attributes
        .iter_mut()
        .find(|found| found.name == attribute)
        .unwrap()
        .ints = ints.to_vec();
}

#[test]
fn no_graph_and_broken_graphs() {
    assert_eq!(
        read(&ModelProto::default()),
        Err(GraphError::NoGraph.into())
    );
    let cut = with(|model| model.graph.as_mut().unwrap().node.truncate(5));
    let error = read(&cut).unwrap_err();
    assert!(
        matches!(
            error,
            WeightsError::Graph(GraphError::Structure(StructureError::NoProducer(_)))
        ),
        "{error}"
    );
}

#[test]
fn other_members_of_the_family() {
    let style = Style::TORCHVISION;
    refuse(
        &Style {
            blocks: [2, 2, 4, 4, 4],
            ..style
        }
        .model(),
        "at block3_pool: expected max_pool, found node `block3_conv4` (Conv)",
    );
    refuse(
        &Style {
            blocks: [2, 2, 2, 2, 2],
            ..style
        }
        .model(),
        "at block3_conv3: expected conv2d, found node `block3_pool` (MaxPool)",
    );
    refuse(
        &Style {
            between: Between::BatchNorm,
            ..style
        }
        .model(),
        "at block1_conv1: node `block1_conv1` (Conv) has activation linear, expected relu",
    );
}

#[test]
fn resnet() {
    let mut graph = GraphBuilder::new("resnet");
    graph
        .input("input", Dim::batched([3, 224, 224]))
        .output("relu:0", Dim::batched([64, 112, 112]));
    graph.initializer("w", &[64, 3, 7, 7], vec![0.0_f32; 64 * 147]);
    graph
        .node("Conv", "conv1", &["input", "w"], "conv1:0")
        .ints("strides", [2, 2])
        .ints("pads", [3; 4]);
    graph.node("Relu", "relu", &["conv1:0"], "relu:0");
    refuse(
        &graph.finish().unwrap(),
        "at block1_conv1: node `conv1` (Conv) has kernel_size [7, 7], expected [3, 3]",
    );
}

#[test]
fn settings() {
    for (attribute, ints, message) in [
        (
            "strides",
            &[2, 2][..],
            "has strides [2, 2], expected [1, 1]",
        ),
        (
            "strides",
            &[0, 1],
            "has strides [0, 1], expected two sizes of at least 1",
        ),
        (
            "dilations",
            &[2, 2],
            "has dilations [2, 2], expected [1, 1]",
        ),
        (
            "kernel_shape",
            &[],
            "has kernel_shape [], expected two sizes of at least 1",
        ),
        (
            "pads",
            &[0; 4],
            "has padding [0, 0, 0, 0], expected [1, 1, 1, 1]",
        ),
        ("pads", &[1, 1], "has pads [1, 1], expected 4 sizes"),
    ] {
        let model = with(|model| set(model, "block2_conv1", attribute, ints));
        refuse(
            &model,
            &format!("at block2_conv1: node `block2_conv1` (Conv) {message}"),
        );
    }
    for (attribute, ints, message) in [
        (
            "kernel_shape",
            &[3, 3][..],
            "has pool_size [3, 3], expected [2, 2]",
        ),
        ("strides", &[1, 1], "has strides [1, 1], expected [2, 2]"),
        (
            "pads",
            &[0, 0, 1, 1],
            "has pads [0, 0, 1, 1], expected [0, 0, 0, 0]",
        ),
    ] {
        let model = with(|model| set(model, "block1_pool", attribute, ints));
        refuse(
            &model,
            &format!("at block1_pool: node `block1_pool` (MaxPool) {message}"),
        );
    }
    // Of an image of an even size, the two are the same.
    let same = with(|model| {
        open_size(model, false);
        let attributes = &mut node(model, "block1_pool").attribute;
        attributes.retain(|attribute| attribute.name != "pads");
        attributes.push(kiln_onnx::AttributeProto {
            name: "auto_pad".into(),
            s: Some(b"SAME_UPPER".to_vec()),
            ..Default::default()
        });
    });
    refuse(
        &same,
        "at block1_pool: node `block1_pool` (MaxPool) has pads [0, 0, 1, 1], expected [0, 0, 0, 0]",
    );
    let grouped = with(|model| node(model, "block1_conv2").attribute[3].i = Some(64));
    refuse(
        &grouped,
        "at block1_conv2: node `block1_conv2` (Conv) has group 64, expected 1",
    );
}

#[test]
fn padding_twice_or_with_something_else() {
    let twice = {
        let mut model = Style {
            padding: Padding::PadInputs,
            ..Style::TORCHVISION
        }
        .model();
        node(&mut model, "block1_conv1")
            .attribute
            .last_mut()
            .unwrap()
            .s = Some(b"SAME_UPPER".to_vec());
        model
    };
    let message = "at block1_conv1: node `block1_conv1` (Conv) has padding [2, 2, 2, 2], expected [1, 1, 1, 1]";
    refuse(&twice, message);
    let mut reflect = Style {
        padding: Padding::PadAttributes,
        ..Style::TORCHVISION
    }
    .model();
    node(&mut reflect, "block1_conv1_pad").attribute[1].s = Some(b"reflect".to_vec());
    let message =
        "at block1_conv1: node `block1_conv1_pad` (Pad) has mode Reflect, expected Constant(0.0)";
    refuse(&reflect, message);
    let mut channels = Style {
        padding: Padding::PadAttributes,
        ..Style::TORCHVISION
    }
    .model();
    set(
        &mut channels,
        "block1_conv1_pad",
        "pads",
        &[0, 1, 1, 1, 0, 1, 1, 1],
    );
    let error = read(&channels).unwrap_err().to_string();
    assert!(
        error.contains(
            "has padding of batch and channels [[0, 0], [1, 1]], expected [[0, 0], [0, 0]]"
        ),
        "{error}"
    );
}

#[test]
fn preprocessing_inside_the_graph() {
    let model = with(|model| {
        let graph = model.graph.as_mut().unwrap();
        let mut scale = graph.node[1].clone();
        (scale.op_type, scale.name) = ("Mul".into(), "rescale".into());
        scale.input = vec!["input".into(), "block1_conv1.bias".into()];
        scale.output = vec!["scaled".into()];
        graph.node[0].input[0] = "scaled".into();
        graph.node.insert(0, scale);
    });
    refuse(
        &model,
        "at block1_conv1: expected conv2d, found node `rescale` (Mul)",
    );
}

#[test]
fn other_axes() {
    let mut model = Style::KERAS.model();
    set(&mut model, "to_nchw", "perm", &[0, 3, 2, 1]);
    let message = "node `to_nchw` (Transpose) has perm [0, 3, 2, 1], expected [0, 3, 1, 2]";
    refuse(&model, message);
    set(&mut model, "to_nchw", "perm", &[7, -1]);
    let message = "node `to_nchw` (Transpose) has perm [7, -1], expected every axis once";
    refuse(&model, message);
}

#[test]
fn branches_and_several_inputs() {
    let skip = with(|model| {
        let graph = model.graph.as_mut().unwrap();
        let mut add = graph.node[1].clone();
        (add.name, add.op_type) = ("skip".into(), "Add".into());
        add.input = vec!["block1_relu1:0".into(), "block1_conv1:0".into()];
        add.output = vec!["skip:0".into()];
        graph.node[2].input[0] = "skip:0".into();
        graph.node.insert(2, add);
    });
    refuse(
        &skip,
        "at block1_conv1: expected a chain of layers, found a branch to node `block1_relu1` (Relu) and node `skip` (Add)",
    );
    let two = with(|model| {
        let graph = model.graph.as_mut().unwrap();
        graph.input.push(kiln_onnx::ValueInfoProto {
            name: "mask".into(),
            ..Default::default()
        });
        graph.node[2].input[2] = "mask".into();
    });
    refuse(
        &two,
        "the graph has 2 inputs (`input`, `mask`), expected one, the image",
    );
}

#[test]
fn operators_of_a_runtime() {
    let model = with(|model| {
        let node = node(model, "block1_conv1");
        (node.op_type, node.domain) = ("FusedConv".into(), "com.microsoft".into());
    });
    refuse(
        &model,
        "at block1_conv1: expected conv2d, found node `block1_conv1` (com.microsoft::FusedConv)",
    );
}

#[test]
fn weights_that_are_not_there() {
    let absent = with(|model| {
        let graph = model.graph.as_mut().unwrap();
        graph
            .initializer
            .retain(|tensor| tensor.name != "block1_conv2.weight");
        graph.node[2].input[1] = "block1_relu1:0".into();
    });
    let error = read(&absent).unwrap_err().to_string();
    assert!(
        error.contains(
            "needs its weight as an initializer or a Constant, found node `block1_relu1`"
        ),
        "{error}"
    );
    let undefined = with(|model| model.graph.as_mut().unwrap().initializer.truncate(3));
    assert!(matches!(
        read(&undefined),
        Err(WeightsError::Graph(GraphError::Structure(_)))
    ));
    let no_bias = with(|model| node(model, "block1_conv1").input.truncate(2));
    refuse(
        &no_bias,
        "at block1_conv1: node `block1_conv1` (Conv) has use_bias false, expected true",
    );
    let shape = with(|model| initializer(model, "block5_conv3.bias").dims = vec![1, 512]);
    refuse(
        &shape,
        "at block5_conv3: node `block5_conv3` (Conv): expected a bias for each filter, found [1, 512] for 512",
    );
    // Without the image's shape, the graph alone cannot tell.
    let no_shape = with(|model| {
        model.graph.as_mut().unwrap().input[0].r#type = None;
        initializer(model, "block5_conv3.bias").dims = vec![1, 512];
    });
    refuse(
        &no_shape,
        "at block5_conv3: node `block5_conv3` (Conv) has a bias of shape [1, 512], expected [512]",
    );
}

#[test]
fn weights_of_other_types() {
    let quantized = Style {
        weights: Weights::Quantized,
        ..Style::TORCHVISION
    }
    .model();
    refuse(
        &quantized,
        "at block1_conv1: node `block1_conv1` (Conv) has quantized weights (node `block1_conv1.weight/dequantize` \
         (DequantizeLinear)): take the float32 model that this one was made from",
    );
    let half = with(|model| {
        initializer(model, "block1_conv1.weight").data_type = DataType::Float16 as i32;
    });
    refuse(
        &half,
        "at block1_conv1: node `block1_conv1` (Conv): tensor `block1_conv1.weight` has element type Float16, expected float32",
    );
}

#[test]
fn weights_without_values() {
    let error = read(&Style::TORCHVISION.model()).unwrap_err();
    let WeightsError::At {
        source: GraphError::Tensor { source, .. },
        ..
    } = &error
    else {
        panic!("{error}")
    };
    let TensorError::Length {
        name,
        expected,
        found,
        ..
    } = &**source
    else {
        panic!("{error}")
    };
    assert_eq!(
        (name.as_str(), *expected, *found),
        ("block1_conv1.weight", 64 * 27, 0)
    );
}
