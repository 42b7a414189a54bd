//! Segments.

use super::node::{Node, Parameter, Values};
use super::op::Op;
use super::size::Dims;

/// Nodes between two values that every path from the image to the scores passes.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// A valid name of a layer, unique in its graph.
    pub name: String,
    /// The nodes, each after those whose outputs it takes; the last one's output is the segment's.
    pub nodes: Vec<Node>,
    /// The parameters that the nodes take, each once. Segments may share a parameter, which then
    /// has the same name.
    pub parameters: Vec<Parameter>,
    /// The file's name of the value at its end.
    pub output: String,
    /// Which nodes of the file it covers, as ascending indices: those that its output needs and
    /// no segment before it. The nodes of all segments up to this one are exactly those that the
    /// value at its end depends on.
    pub covers: Vec<usize>,
}

/// Something in a segment that kiln cannot compute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{segment} cannot be computed in training: {reason}")]
pub struct UntypedError {
    /// The segment's name.
    pub segment: String,
    /// What stands in the way, naming the node.
    pub reason: String,
}

impl Segment {
    /// Returns the shape of its output, where it is known.
    pub fn shape(&self) -> Option<&Dims> {
        self.nodes.last()?.shape.as_ref()
    }

    /// Returns the number of values of its parameters.
    pub fn parameter_count(&self) -> usize {
        self.parameters
            .iter()
            .fold(0, |count, parameter| count.saturating_add(parameter.len()))
    }

    /// Returns its only node, where it has just one.
    pub fn single(&self) -> Option<&Node> {
        match self.nodes.as_slice() {
            [node] => Some(node),
            _ => None,
        }
    }

    /// Checks that kiln can compute it: every operator is known, every parameter has values and
    /// every shape is known.
    pub fn check_typed(&self) -> Result<(), UntypedError> {
        let operators = self.nodes.iter().find_map(|node| {
            if let Op::Other(other) = &node.op {
                return Some(other.reason.clone());
            }
            None
        });
        let values = || {
            self.parameters
                .iter()
                .find_map(|parameter| match &parameter.values {
                    Values::Missing(reason) => Some(reason.clone()),
                    Values::File | Values::Computed(_) | Values::Filled(_) => None,
                })
        };
        let shapes = || {
            let node = self.nodes.iter().find(|node| node.shape.is_none())?;
            Some(format!(
                "the shape of `{}` ({}) is not known",
                node.name,
                node.op.name()
            ))
        };
        match operators.or_else(values).or_else(shapes) {
            None => Ok(()),
            Some(reason) => Err(UntypedError {
                segment: self.name.clone(),
                reason,
            }),
        }
    }
}
