//! Control flow: nodes with graphs of their own.

use std::collections::HashSet;

use kiln_onnx::{GraphProto, NodeProto};

/// The values that the graphs of a control-flow node take from the graph around it.
pub fn captured(node: &NodeProto) -> impl Iterator<Item = &str> {
    let graphs = node
        .attribute
        .iter()
        .flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs));
    graphs.flat_map(free)
}

/// The names that a graph uses and does not define. Graphs in graphs are bounded in depth: no
/// deeper message is decoded.
fn free(graph: &GraphProto) -> Vec<&str> {
    let inputs = graph.input.iter().map(|input| input.name.as_str());
    let constants = graph.initializer.iter().map(|tensor| tensor.name.as_str());
    let outputs = graph.node.iter().flat_map(|node| &node.output);
    let defined: HashSet<&str> = inputs
        .chain(constants)
        .chain(outputs.map(String::as_str))
        .collect();
    let used = graph.node.iter().flat_map(|node| {
        let inner: Vec<&str> = captured(node).collect();
        node.input.iter().map(String::as_str).chain(inner)
    });
    let given = graph.output.iter().map(|output| output.name.as_str());
    used.chain(given)
        .filter(|name| !name.is_empty() && !defined.contains(name))
        .collect()
}
