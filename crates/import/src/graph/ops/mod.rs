//! Operators out of ONNX nodes of any opset.

mod call;
mod layout;
mod linear;
mod pointwise;
mod reduce;
mod window;

use kiln_model::graph::{Binary, Op};

use crate::error::GraphError;

pub use call::{Call, Known};

/// The first and the last opset that are read.
pub const OPSETS: std::ops::RangeInclusive<i64> = 7..=26;

/// What a node is read as.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// Its first input, unchanged.
    Same,
    /// An operator of these of its inputs.
    One(Op, Vec<usize>),
    /// Operators one after another, the first of the node's first input.
    Chain(Vec<Op>),
    /// An operator of two values, of all inputs from the left.
    Fold(Binary),
    /// For each output, an operator of the first input.
    Outputs(Vec<Op>),
}

/// Reads a node.
pub fn read(call: &Call<'_>) -> Result<Reading, GraphError> {
    let unsupported = || GraphError::Unsupported {
        node: call.node.describe(),
    };
    if !call.node.is_onnx() || !OPSETS.contains(&call.opset) {
        return Err(unsupported());
    }
    let operator = call.node.op_type.as_str();
    let families = [
        pointwise::read,
        window::read,
        linear::read,
        reduce::read,
        layout::read,
    ];
    for family in families {
        if let Some(reading) = family(operator, call)? {
            return Ok(reading);
        }
    }
    Err(unsupported())
}

/// An operator of the first input.
fn unary(op: Op) -> Reading {
    Reading::One(op, vec![0])
}
