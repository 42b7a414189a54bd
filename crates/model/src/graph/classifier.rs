//! Where the classifier begins.

use super::node::{Input, Node};
use super::op::{Binary, Op, Unary};
use super::segment::Segment;

/// Finds the segment with which the classifier begins: the last `Gemm` or `MatMul` by a constant
/// whose output reaches the scores through nothing but a bias, a softmax or sigmoid and other
/// shapes; or a 1×1 convolution next to a global pooling.
pub fn find(segments: &[Segment]) -> Option<usize> {
    let mut pooled = false;
    for (at, segment) in segments.iter().enumerate().rev() {
        let node = segment.single()?;
        let op = &node.op;
        if matches!(op, Op::Gemm(_) | Op::MatMul) && has_parameter(node, 1) && !pooled {
            return Some(at);
        }
        if is_pointwise_conv(op) && has_parameter(node, 1) {
            return (pooled || comes_from_pooling(&segments[..at])).then_some(at);
        }
        if is_global_pooling(op) && !pooled {
            pooled = true;
        } else if !only_ends(op) && !is_bias(node) && !only_rounds(op) {
            return None;
        }
    }
    None
}

/// Whether an operator may stand between a classifier and the scores.
const fn only_ends(op: &Op) -> bool {
    matches!(
        op,
        Op::Softmax { .. }
            | Op::LogSoftmax { .. }
            | Op::Unary(Unary::Sigmoid | Unary::Relu)
            | Op::Reshape { .. }
            | Op::Squeeze { .. }
            | Op::Unsqueeze { .. }
            | Op::Flatten { .. }
    )
}

/// Whether an operator only rounds, as between the quantized layers of a network.
fn only_rounds(op: &Op) -> bool {
    matches!(op, Op::Other(other) if matches!(other.op_type.as_str(), "QuantizeLinear" | "DequantizeLinear"))
}

fn is_bias(node: &Node) -> bool {
    node.op == Op::Binary(Binary::Add) && (has_parameter(node, 0) || has_parameter(node, 1))
}

fn is_pointwise_conv(op: &Op) -> bool {
    matches!(op, Op::Conv(conv) if conv.window.kernel == [1, 1])
}

fn has_parameter(node: &Node, input: usize) -> bool {
    matches!(node.inputs.get(input), Some(Input::Parameter(_)))
}

/// Whether the last of the segments is a global pooling, apart from other shapes.
fn comes_from_pooling(segments: &[Segment]) -> bool {
    let mut backward = segments.iter().rev().map_while(Segment::single);
    let last = backward.find(|node| {
        !matches!(
            node.op,
            Op::Reshape { .. } | Op::Squeeze { .. } | Op::Unsqueeze { .. } | Op::Flatten { .. }
        )
    });
    last.is_some_and(|node| is_global_pooling(&node.op))
}

/// Whether an operator takes the mean or maximum of whole images. A pooling whose window happens
/// to be the image is not told apart from others, which do no harm here.
fn is_global_pooling(op: &Op) -> bool {
    let of_image = matches!(op, Op::Reduce { axes, .. } if axes.len() == 2);
    of_image
        || matches!(
            op,
            Op::GlobalAveragePool | Op::GlobalMaxPool | Op::AveragePool(_)
        )
}
