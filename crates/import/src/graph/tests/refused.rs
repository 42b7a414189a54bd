//! What leaves no graph to speak of, and what does.

use kiln_onnx::{AttributeProto, GraphProto, ModelProto, NodeProto};

use super::segments::residual;
use super::small::{Small, table};
use crate::{graph, graph_to};

fn message(model: &ModelProto) -> String {
    graph(model, None).unwrap_err().to_string()
}

#[test]
fn malformed_graphs_are_errors() {
    assert!(message(&ModelProto::default()).starts_with("the model has no graph"));
    let mut model = residual();
    model.graph.as_mut().unwrap().node.reverse();
    assert!(message(&model).contains("which no graph input"));
    let mut model = residual();
    let inputs = &mut model.graph.as_mut().unwrap().input;
    let mut second = inputs[0].clone();
    second.name = "mask".into();
    inputs.push(second);
    // Nothing takes it.
    assert!(graph(&model, None).is_ok());
    model.graph.as_mut().unwrap().node[5].input[1] = "mask".into();
    assert_eq!(
        message(&model),
        "the graph has 2 inputs (`x`, `mask`), expected one, the image"
    );
    let mut model = residual();
    model.graph.as_mut().unwrap().output[0].name = "w0".into();
    assert_eq!(
        message(&model),
        "expected an output that depends on the image `x`, found `w0`"
    );
    assert_eq!(
        graph_to(&residual(), None, "nothing")
            .unwrap_err()
            .to_string(),
        "the graph has no value `nothing`"
    );
    assert_eq!(
        graph(&residual(), Some([8, 9])).unwrap_err().to_string(),
        "the graph takes images of width 8, found 9"
    );
}

/// A node of control flow with a graph of its own that uses a value.
fn control(uses: &str) -> ModelProto {
    let mut model = residual();
    let inner = GraphProto {
        node: vec![NodeProto {
            op_type: "Relu".into(),
            input: vec![uses.into()],
            output: vec!["inner".into()],
            ..NodeProto::default()
        }],
        ..GraphProto::default()
    };
    let nodes = &mut model.graph.as_mut().unwrap().node;
    nodes[6].op_type = "If".into();
    nodes[6].attribute = vec![AttributeProto {
        name: "then_branch".into(),
        g: Some(inner),
        ..AttributeProto::default()
    }];
    model
}

#[test]
fn control_flow_may_not_use_the_graph_around_it() {
    assert!(
        message(&control("b")).starts_with("node `/layer1/layer1.0/relu_1/Relu` (If) uses `b`")
    );
    let graph = graph(&control("w0"), None).unwrap();
    assert_eq!(table(&graph)[3].1, "If");
    assert!(graph.segments[3].check_typed().is_err());
}

#[test]
fn operators_of_others_leave_the_segments_what_they_are() {
    let mut model = residual();
    let expected: Vec<String> = table(&graph(&model, None).unwrap())
        .iter()
        .map(|row| row.0.to_owned())
        .collect();
    for node in &mut model.graph.as_mut().unwrap().node {
        node.domain = "com.microsoft".into();
    }
    let graph = graph(&model, None).unwrap();
    let names: Vec<&str> = table(&graph).iter().map(|row| row.0).collect();
    assert_eq!(names, expected);
    assert_eq!(graph.classifier, None);
    assert_eq!(
        graph.segments[0].check_typed().unwrap_err().to_string(),
        "conv1 cannot be computed in training: node `/conv1/Conv` (com.microsoft::Conv) is not among the operators that \
         kiln computes"
    );
    // Of several outputs each is a value of its own.
    let mut small = Small::new(13, &[4]);
    small.graph.node("TopK", "top", &["x"], "a").output("b");
    small.node("Add", &["a", "b"], "y");
    assert_eq!(small.read().segments.len(), 1);
}
