//! Following the image from node to node.

use std::collections::HashMap;

use kiln_onnx::{GraphProto, NodeProto};

use crate::layout::Layer;

use super::attributes::Place;
use super::error::{BackboneError, describe};

/// A network as a chain of nodes, and a place in it.
#[derive(Debug)]
pub struct Chain<'a> {
    /// The nodes that take each value, each node once.
    consumers: HashMap<&'a str, Vec<&'a NodeProto>>,
    /// The image, as far as it has come.
    value: &'a str,
}

impl<'a> Chain<'a> {
    /// The chain that starts at a value of a graph whose structure has been checked.
    pub fn new(graph: &'a GraphProto, value: &'a str) -> Self {
        let mut consumers: HashMap<_, Vec<&NodeProto>> = HashMap::new();
        for node in &graph.node {
            for (index, input) in node.input.iter().enumerate() {
                if !input.is_empty() && !node.input[..index].contains(input) {
                    consumers.entry(input.as_str()).or_default().push(node);
                }
            }
        }
        Self { consumers, value }
    }

    /// The name of the value that the next node takes.
    pub const fn value(&self) -> &'a str {
        self.value
    }

    /// The next node other than `Identity`; none at the end of the graph.
    pub fn peek(&mut self, layer: Layer) -> Result<Option<&'a NodeProto>, BackboneError> {
        loop {
            let nodes = self.consumers.get(self.value).map_or(&[][..], Vec::as_slice);
            match nodes {
                [] => return Ok(None),
                [node] if is(node, "Identity") => self.step(node),
                [node] => return Ok(Some(node)),
                _ => {
                    let nodes = nodes.iter().map(|node| describe(node)).collect();
                    return Err(BackboneError::Branch { layer: layer.name(), nodes });
                }
            }
        }
    }

    /// The next node, if it is of this operator and takes the image as its first input.
    pub fn take_if(&mut self, layer: Layer, operator: &str) -> Result<Option<&'a NodeProto>, BackboneError> {
        let next = self.peek(layer)?;
        let node = next.filter(|node| is(node, operator) && node.input.first().is_some_and(|name| name == self.value));
        if let Some(node) = node {
            self.step(node);
        }
        Ok(node)
    }

    /// The next node, which must be of this operator and take the image as its first input.
    pub fn take(&mut self, layer: Layer, operator: &'static str) -> Result<Place<'a>, BackboneError> {
        match self.take_if(layer, operator)? {
            Some(node) => Ok(Place { layer, node }),
            None => Err(self.unexpected(layer, operator)?),
        }
    }

    /// The error about the next node where another was expected.
    pub fn unexpected(&mut self, layer: Layer, expected: &'static str) -> Result<BackboneError, BackboneError> {
        let found = self.peek(layer)?.map_or_else(|| "the end of the graph".to_owned(), describe);
        Ok(BackboneError::Operator { layer: layer.name(), expected, found })
    }

    /// Goes past a node.
    pub fn step(&mut self, node: &'a NodeProto) {
        self.value = node.output.first().map_or("", String::as_str);
    }
}

/// Whether a node is of one of ONNX's own operators.
pub fn is(node: &NodeProto, operator: &str) -> bool {
    matches!(node.domain.as_str(), "" | "ai.onnx") && node.op_type == operator
}
