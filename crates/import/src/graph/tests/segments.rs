//! Segments, their names, and where the classifier begins.

use kiln_model::graph::{Dims, Graph, Op};
use kiln_onnx::{GraphBuilder, ModelProto};

use super::small::{Small, nodes, table};

/// Adds a node of this path whose output has the same name.
fn at(graph: &mut GraphBuilder, op_type: &str, path: &str, inputs: &[&str], output: &str) {
    graph.node(op_type, path, inputs, output);
}

/// A residual network as torch exports it.
pub fn residual() -> ModelProto {
    let mut small = Small::new(13, &[3, 8, 8]);
    small
        .zeros("w0", &[4, 3, 1, 1])
        .zeros("w1", &[4, 4, 1, 1])
        .zeros("w2", &[4, 4, 1, 1]);
    small.zeros("w3", &[2, 4]).zeros("b3", &[2]);
    let graph = &mut small.graph;
    at(graph, "Conv", "/conv1/Conv", &["x", "w0"], "a");
    at(graph, "Relu", "/relu/Relu", &["a"], "b");
    at(
        graph,
        "Conv",
        "/layer1/layer1.0/conv1/Conv",
        &["b", "w1"],
        "c",
    );
    at(graph, "Relu", "/layer1/layer1.0/relu/Relu", &["c"], "d");
    at(
        graph,
        "Conv",
        "/layer1/layer1.0/conv2/Conv",
        &["d", "w2"],
        "e",
    );
    at(graph, "Add", "/layer1/layer1.0/Add", &["e", "b"], "f");
    at(graph, "Relu", "/layer1/layer1.0/relu_1/Relu", &["f"], "g");
    at(
        graph,
        "GlobalAveragePool",
        "/avgpool/GlobalAveragePool",
        &["g"],
        "h",
    );
    at(graph, "Flatten", "/Flatten", &["h"], "i");
    graph
        .node("Gemm", "/fc/Gemm", &["i", "w3", "b3"], "j")
        .int("transB", 1);
    at(graph, "Softmax", "/Softmax", &["j"], "y");
    small.model()
}

fn read(model: &ModelProto) -> Graph {
    crate::graph(model, None).unwrap()
}

#[test]
fn blocks_are_segments_named_by_their_modules() {
    let graph = read(&residual());
    assert_eq!(
        table(&graph),
        [
            ("conv1", "Conv"),
            ("relu", "Relu"),
            ("layer1_0", "residual"),
            ("layer1_0_relu_1", "Relu"),
            ("avgpool", "GlobalAveragePool"),
            ("flatten", "Flatten"),
            ("fc", "Gemm"),
            ("softmax", "Softmax"),
        ]
    );
    assert_eq!((graph.classifier, graph.features()), (Some(6), "i"));
    assert_eq!(graph.segments[2].covers, [2, 3, 4, 5]);
    assert_eq!(
        (
            graph.segments[2].output.as_str(),
            graph.segments[2].parameter_count()
        ),
        ("f", 32)
    );
    assert!(
        graph
            .segments
            .iter()
            .all(|segment| segment.check_typed().is_ok())
    );
}

#[test]
fn a_graph_can_be_read_up_to_a_value() {
    let graph = crate::graph_to(&residual(), None, "f").unwrap();
    assert_eq!(graph.segments.len(), 3);
    assert_eq!((graph.classifier, graph.features()), (None, "f"));
    // Within a block there is no cut but at the end.
    let inside = crate::graph_to(&residual(), None, "d").unwrap();
    assert_eq!(inside.segments.len(), 4);
}

#[test]
fn the_cuts_do_not_depend_on_the_order_of_nodes() {
    let mut model = residual();
    let expected = table(&read(&residual())).len();
    // The shortcut's branch of a block in front of the other.
    let graph = model.graph.as_mut().unwrap();
    graph.node[5].input = vec!["s".into(), "e".into()];
    let mut shortcut = graph.node[2].clone();
    shortcut.name = "/layer1/layer1.0/downsample/Conv".into();
    shortcut.output = vec!["s".into()];
    for place in 2..6 {
        let mut moved = model.clone();
        moved
            .graph
            .as_mut()
            .unwrap()
            .node
            .insert(place, shortcut.clone());
        let graph = read(&moved);
        assert_eq!(graph.segments.len(), expected, "{place}");
        assert_eq!(graph.segments[2].kind(), "residual");
    }
}

#[test]
fn gates_and_branches_are_named_for_what_they_are() {
    let mut small = Small::new(13, &[4, 8, 8]);
    small.zeros("w", &[4, 4, 1, 1]);
    let graph = &mut small.graph;
    at(graph, "Sigmoid", "/act/Sigmoid", &["x"], "a");
    at(graph, "Mul", "/act/Mul", &["x", "a"], "b");
    at(
        graph,
        "GlobalAveragePool",
        "/se/pool/GlobalAveragePool",
        &["b"],
        "c",
    );
    at(graph, "Conv", "/se/fc/Conv", &["c", "w"], "d");
    at(graph, "Sigmoid", "/se/Sigmoid", &["d"], "e");
    at(graph, "Mul", "/se/Mul", &["b", "e"], "f");
    at(graph, "Conv", "/fire/squeeze/Conv", &["f", "w"], "g");
    at(graph, "Conv", "/fire/left/Conv", &["g", "w"], "h");
    at(graph, "Conv", "/fire/right/Conv", &["g", "w"], "i");
    graph
        .node("Concat", "/fire/Concat", &["h", "i"], "y")
        .int("axis", 1);
    let graph = small.read();
    assert_eq!(
        table(&graph),
        [
            ("act", "activation"),
            ("se", "squeeze_excite"),
            ("fire_squeeze", "Conv"),
            // `fire` stays the name of the whole module.
            ("fire_branches", "branches"),
        ]
    );
    // One tensor, twice.
    assert_eq!(graph.segments[3].parameters.len(), 1);
}

#[test]
fn padding_belongs_to_the_convolution_that_alone_takes_it() {
    // Zeros around rows and columns, of two kinds; the batch and the channels; another number.
    for (pads, value, other, alone) in [
        ([0, 0, 0, 0, 0, 0, 1, 1], 0.0, false, true),
        ([0, 0, 2, 0, 0, 0, 1, 3], 0.0, false, true),
        ([0, 0, 0, 0, 0, 1, 1, 1], 0.0, false, false),
        ([0, 0, 0, 0, 0, 0, 1, 1], 1.0, false, false),
        ([0, 0, 0, 0, 0, 0, 1, 1], 0.0, true, false),
    ] {
        let mut small = Small::new(13, &[4, 8, 8]);
        let channels = 4 + pads[5] as usize;
        small.zeros("w", &[4, channels, 3, 3]).list("pads", &pads);
        small.graph.initializer("value", &[], vec![value]);
        small.node("Relu", &["x"], "a");
        small.node("Pad", &["a", "pads", "value"], "b");
        let mut conv = small.graph.node("Conv", "c", &["b", "w"], "c");
        conv.ints("strides", [2, 2]).ints("pads", [1, 0, 0, 0]);
        if other {
            small.node("GlobalMaxPool", &["b"], "d");
            small.node("Add", &["c", "d"], "y");
        } else {
            small.node("Relu", &["c"], "y");
        }
        let graph = small.read();
        let convolution = nodes(&graph).find_map(|node| match &node.op {
            Op::Conv(conv) => Some((conv.window.pads, node.shape.clone())),
            _ => None,
        });
        let kinds: Vec<&str> = table(&graph).iter().map(|row| row.1).collect();
        if alone {
            let [_, _, top, left, .., bottom, right] = pads.map(|pad| pad as usize);
            let (found, shape) = convolution.unwrap();
            assert_eq!(found, [[top + 1, bottom], [left, right]]);
            let size = |pads: [usize; 2]| (8 + pads[0] + pads[1] - 3) / 2 + 1;
            assert_eq!(
                shape,
                Some(Dims::batched([4, size(found[0]), size(found[1])]))
            );
            assert_eq!(kinds, ["Relu", "Conv", "Relu"]);
            assert_eq!(graph.segments[1].covers, [1, 2]);
        } else {
            assert!(nodes(&graph).any(|node| matches!(node.op, Op::Pad(_))));
        }
    }
}

#[test]
fn names_of_other_exporters() {
    let mut small = Small::new(13, &[4, 8, 8]);
    small
        .zeros("w", &[4, 4, 1, 1])
        .zeros("s", &[4])
        .zeros("dense", &[4, 2]);
    let graph = &mut small.graph;
    at(graph, "Conv", "model/conv1/Conv2D", &["x", "w"], "a");
    at(graph, "Relu", "model/conv1/Relu", &["a"], "b");
    at(graph, "Conv", "model/conv2/Conv2D", &["b", "w"], "c");
    at(graph, "Conv", "Conv_7", &["c", "w"], "d");
    at(graph, "Conv", "Conv_8", &["d", "w"], "e");
    at(graph, "GlobalMaxPool", "model/features/Max", &["e"], "y");
    assert_eq!(
        table(&small.read())
            .iter()
            .map(|row| row.0)
            .collect::<Vec<_>>(),
        [
            "conv1",
            "conv1_relu",
            "conv2",
            "conv",
            "conv_1",
            "layer_features"
        ]
    );
}

#[test]
fn classifiers_of_older_networks() {
    let squeezenet = |last: &str, kernel: usize| {
        let mut small = Small::new(13, &[4, 8, 8]);
        small.zeros("w", &[2, 4, kernel, kernel]);
        small
            .node("Conv", &["x", "w"], "a")
            .node("Relu", &["a"], "b")
            .node(last, &["b"], "c")
            .node("Flatten", &["c"], "y");
        small.read()
    };
    assert_eq!(squeezenet("GlobalAveragePool", 1).classifier, Some(0));
    assert_eq!(squeezenet("GlobalAveragePool", 3).classifier, None);
    assert_eq!(squeezenet("Relu", 1).classifier, None);
    let mut mobilenet = Small::new(13, &[4, 8, 8]);
    mobilenet.zeros("w", &[2, 4, 1, 1]);
    mobilenet
        .node("GlobalAveragePool", &["x"], "a")
        .node("Dropout", &["a"], "b")
        .node("Conv", &["b", "w"], "c")
        .node("Flatten", &["c"], "y");
    assert_eq!(mobilenet.read().classifier, Some(1));
    let mut keras = Small::new(13, &[4]);
    keras.zeros("w", &[4, 2]).zeros("b", &[2]);
    keras
        .node("MatMul", &["x", "w"], "a")
        .node("Add", &["a", "b"], "b2")
        .node("Sigmoid", &["b2"], "y");
    assert_eq!(keras.read().classifier, Some(0));
}
