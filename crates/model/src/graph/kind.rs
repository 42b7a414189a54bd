//! What a segment is, in a word.

use super::node::{Input, Node};
use super::op::{Binary, Op};
use super::segment::Segment;

impl Segment {
    /// Returns what the segment is, in a word: the operator of its one node, `attention`,
    /// `residual`, `branches`, `squeeze_excite`, `activation`, `normalization`, else `block`.
    pub fn kind(&self) -> &str {
        if let Some(node) = self.single() {
            return node.op.name();
        }
        let Some(last) = self.nodes.last() else {
            return "empty";
        };
        let any = |test: fn(&Op) -> bool| self.nodes.iter().any(|node| test(&node.op));
        let of_two_values = matches!(last.inputs[..], [Input::Value(_), Input::Value(_)]);
        // The product of queries and keys has no parameter.
        let product = |node: &Node| {
            node.op == Op::MatMul && matches!(node.inputs[..], [Input::Value(_), Input::Value(_)])
        };
        let softmax = any(|op| matches!(op, Op::Softmax { .. }));
        if softmax && self.nodes.iter().any(product) {
            return "attention";
        }
        if !any(has_weights) {
            if any(|op| matches!(op, Op::Reduce { .. })) {
                return "normalization";
            }
            if self.nodes.iter().all(|node| is_pointwise(&node.op)) {
                return "activation";
            }
        }
        let op = &last.op;
        if *op == Op::Binary(Binary::Add) && of_two_values {
            "residual"
        } else if *op == Op::Binary(Binary::Mul) && of_two_values && any(is_global) {
            "squeeze_excite"
        } else if matches!(op, Op::Concat { .. }) {
            "branches"
        } else {
            "block"
        }
    }
}

const fn is_pointwise(op: &Op) -> bool {
    matches!(op, Op::Unary(_) | Op::Binary(_))
}

const fn has_weights(op: &Op) -> bool {
    matches!(
        op,
        Op::Conv(_) | Op::Gemm(_) | Op::MatMul | Op::BatchNormalization { .. } | Op::Other(_)
    )
}

const fn is_global(op: &Op) -> bool {
    matches!(
        op,
        Op::GlobalAveragePool | Op::GlobalMaxPool | Op::Reduce { .. } | Op::AveragePool(_)
    )
}
