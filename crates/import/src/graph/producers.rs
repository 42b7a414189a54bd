//! Which nodes a value depends on.

use std::collections::HashMap;

use kiln_onnx::{GraphProto, NodeProto};

use super::control::captured;

/// Which node gives each value of a file.
#[derive(Debug)]
pub struct Producers<'a> {
    pub graph: &'a GraphProto,
    nodes: HashMap<&'a str, usize>,
}

impl<'a> Producers<'a> {
    pub fn new(graph: &'a GraphProto) -> Self {
        let outputs = graph.node.iter().enumerate();
        let outputs = outputs.flat_map(|(at, node)| {
            let values = node.output.iter().filter(|value| !value.is_empty());
            values.map(move |value| (value.as_str(), at))
        });
        Self {
            graph,
            nodes: outputs.collect(),
        }
    }

    /// Returns the node that gives a value.
    pub fn of(&self, value: &str) -> Option<usize> {
        self.nodes.get(value).copied()
    }

    /// Returns the nodes that a value depends on, ascending.
    pub fn needed(&self, value: &str) -> Vec<usize> {
        let mut seen = vec![false; self.graph.node.len()];
        self.beyond(&mut seen, value)
    }

    /// Returns the nodes that a value depends on and that were not `seen` yet, ascending.
    pub fn beyond(&self, seen: &mut [bool], value: &str) -> Vec<usize> {
        let mut found = Vec::new();
        let mut open: Vec<&str> = vec![value];
        while let Some(value) = open.pop() {
            if let Some(at) = self.of(value)
                && !std::mem::replace(&mut seen[at], true)
            {
                found.push(at);
                let node: &NodeProto = &self.graph.node[at];
                open.extend(node.input.iter().map(String::as_str));
                open.extend(captured(node));
            }
        }
        found.sort_unstable();
        found
    }
}
