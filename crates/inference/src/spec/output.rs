//! The graph's first output against the labels.

use kiln_onnx::{DataType, Dim, ModelProto, TensorInfo};

use super::describe;
use crate::error::LoadErrorKind;
use crate::hint::Unspecified;

/// Most classes that are called by their numbers. A file can claim any number; names have to be
/// given.
const MAX_NUMBERS: usize = 1 << 20;

/// What a graph ends in, where that says something about its scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Probabilities that sum to 1.
    Softmax,
    /// A probability for each class on its own.
    Sigmoid,
}

/// The classes' numbers as their names.
pub fn numbers(output: Option<&TensorInfo>) -> Result<Vec<String>, LoadErrorKind> {
    let classes = match output.and_then(|output| output.shape.as_deref()) {
        Some([_, classes, ..]) => classes
            .fixed()
            .filter(|classes| (1..=MAX_NUMBERS).contains(classes)),
        _ => None,
    };
    let classes = classes.ok_or(LoadErrorKind::Unspecified(Unspecified::Labels))?;
    Ok((0..classes).map(|class| class.to_string()).collect())
}

/// Checks that the scores can be `[batch, labels]` of floats, of at least two labels; axes of 1 may
/// follow.
pub fn check(output: Option<&TensorInfo>, labels: usize) -> Result<(), LoadErrorKind> {
    let error = |found| LoadErrorKind::Output { labels, found };
    let output = output.ok_or_else(|| error("none".to_owned()))?;
    if output
        .data_type
        .is_some_and(|found| found != DataType::Float)
    {
        return Err(LoadErrorKind::OutputType {
            found: describe(output),
        });
    }
    let can_be = |dim: &Dim, size| dim.fixed().is_none_or(|found| found == size);
    let fits = match output.shape.as_deref() {
        // Said before labels are asked for: no number of them would do.
        Some([_, Dim::Fixed(1), rest @ ..]) if rest.iter().all(|dim| can_be(dim, 1)) => {
            return Err(LoadErrorKind::OneScore);
        }
        Some([_, classes, rest @ ..]) => {
            can_be(classes, labels) && rest.iter().all(|dim| can_be(dim, 1))
        }
        Some(_) => false,
        None => true,
    };
    match (fits, labels) {
        (false, _) => Err(error(describe(output))),
        (true, 0 | 1) => Err(LoadErrorKind::OneScore),
        (true, _) => Ok(()),
    }
}

/// What the graph ends in; operators that only move or convert values may follow it.
pub fn end(model: &ModelProto) -> Option<End> {
    let graph = model.graph.as_ref()?;
    let mut value = graph.output.first()?.name.as_str();
    // Nodes are in topological order: what makes a value stands before what takes it.
    for node in graph.node.iter().rev().filter(|node| node.is_onnx()) {
        if node.output.first().is_none_or(|output| output != value) {
            continue;
        }
        match node.op_type.as_str() {
            "Softmax" => return Some(End::Softmax),
            "Sigmoid" => return Some(End::Sigmoid),
            "Identity" | "Cast" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose" => {
                value = node.input.first()?;
            }
            _ => return None,
        }
    }
    None
}
