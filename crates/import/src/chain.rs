//! Following the image from node to node.

use std::collections::HashMap;

use kiln_onnx::{GraphProto, NodeProto};

use crate::attributes::Place;
use crate::error::GraphError;

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
    pub fn peek(&mut self) -> Result<Option<&'a NodeProto>, GraphError> {
        loop {
            match self.consumers_of(self.value) {
                [] => return Ok(None),
                [node] if is(node, "Identity") => self.step(node),
                [node] => return Ok(Some(node)),
                nodes => {
                    return Err(GraphError::Branch {
                        nodes: nodes.iter().map(|node| node.describe()).collect(),
                    });
                }
            }
        }
    }

    /// The next node, if it is of this operator and takes the image as its first input.
    pub fn take_if(&mut self, operator: &str) -> Result<Option<Place<'a>>, GraphError> {
        let next = self.peek()?;
        let node = next.filter(|node| {
            is(node, operator) && node.input.first().is_some_and(|name| name == self.value)
        });
        if let Some(node) = node {
            self.step(node);
        }
        Ok(node.map(Place))
    }

    /// The next node, which must be of this operator and take the image as its first input.
    pub fn take(&mut self, operator: &'static str) -> Result<Place<'a>, GraphError> {
        match self.take_if(operator)? {
            Some(place) => Ok(place),
            None => Err(self.unexpected(operator)?),
        }
    }

    /// The error about the next node where another was expected.
    pub fn unexpected(&mut self, expected: &'static str) -> Result<GraphError, GraphError> {
        let found = self.peek()?.map_or_else(
            || "the end of the graph".to_owned(),
            kiln_onnx::NodeProto::describe,
        );
        Ok(GraphError::Operator { expected, found })
    }

    /// Goes past a node.
    pub fn step(&mut self, node: &'a NodeProto) {
        self.value = node.output.first().map_or("", String::as_str);
    }

    /// Whether the graph ends here, or one of these operators takes the image, also past nodes that
    /// only rename or transpose it. Of several nodes that take it, one is enough: its size may be
    /// asked for besides.
    pub fn ends_before(&self, operators: &[&str]) -> bool {
        let renames = |node: &NodeProto| is(node, "Identity") || is(node, "Transpose");
        let (mut values, mut ends) = (vec![self.value], true);
        // Ends, because each value is defined before it is used, and each of these nodes is reached
        // from one value only.
        while let Some(value) = values.pop() {
            for node in self.consumers_of(value) {
                if operators.iter().any(|operator| is(node, operator)) {
                    return true;
                }
                if renames(node) && node.input.first().is_some_and(|name| name == value) {
                    values.push(node.output.first().map_or("", String::as_str));
                } else {
                    ends = false;
                }
            }
        }
        ends
    }

    fn consumers_of(&self, value: &str) -> &[&'a NodeProto] {
        self.consumers.get(value).map_or(&[], Vec::as_slice)
    }
}

/// Whether a node is of one of ONNX's own operators.
pub fn is(node: &NodeProto, operator: &str) -> bool {
    node.is_onnx() && node.op_type == operator
}
