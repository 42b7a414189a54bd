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
        match &node.op {
            Op::Gemm(_) | Op::MatMul if has_parameter(node, 1) && !pooled => return Some(at),
            Op::Conv(conv) if conv.window.kernel == [1, 1] && has_parameter(node, 1) => {
                return (pooled || comes_from_pooling(&segments[..at])).then_some(at);
            }
            Op::Softmax { .. }
            | Op::LogSoftmax { .. }
            | Op::Unary(Unary::Sigmoid | Unary::Relu)
            | Op::Reshape { .. }
            | Op::Squeeze { .. }
            | Op::Unsqueeze { .. }
            | Op::Flatten { .. } => {}
            Op::Binary(Binary::Add) if has_parameter(node, 0) || has_parameter(node, 1) => {}
            op if is_global_pooling(op) && !pooled => pooled = true,
            _ => return None,
        }
    }
    None
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
    match op {
        Op::GlobalAveragePool | Op::GlobalMaxPool | Op::AveragePool(_) => true,
        Op::Reduce { axes, .. } => axes.len() == 2,
        _ => false,
    }
}
