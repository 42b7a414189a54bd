//! What a node of a file is read as.

use kiln_model::graph::{Binary, Op};

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

/// An operator of the first input.
pub fn unary(op: Op) -> Reading {
    Reading::One(op, vec![0])
}
