//! Which function computes an operator.

use burn::backend::Dispatch;
use burn::backend::ops::{ActivationOps, FloatTensorOps};
use kiln_model::graph::{Op, Reduction};

use super::value::{Value, expand, reshape};
use super::{elementwise, moves, norm, product, window};

/// Computes an operator; `shape` is that of its output. None for an operator that kiln does not
/// compute, and for another number of inputs than it takes.
pub fn apply(op: &Op, inputs: Vec<Value>, shape: &[usize]) -> Option<Value> {
    let mut inputs = inputs.into_iter();
    let x = inputs.next()?;
    let mut next = || inputs.next();
    Some(match op {
        Op::Conv(conv) => window::conv(conv, x, next()?, next()),
        Op::BatchNormalization { epsilon, .. } => {
            norm::batch(x, [next()?, next()?, next()?, next()?], *epsilon)
        }
        Op::LayerNormalization { axis, epsilon } => {
            norm::layer(x, *axis, *epsilon, next()?, next())
        }
        Op::GroupNormalization { groups, epsilon } => {
            norm::groups(x, *groups, *epsilon, next()?, next()?)
        }
        Op::InstanceNormalization { epsilon } => {
            norm::groups(x, *shape.get(1)?, *epsilon, next()?, next()?)
        }
        Op::Lrn(settings) => norm::local_response(*settings, x),
        Op::Gemm(settings) => product::gemm(*settings, x, next()?, next()),
        Op::MatMul => product::matmul(x, next()?),
        Op::Binary(binary) => elementwise::binary(*binary, x, next()?),
        Op::Unary(unary) => elementwise::unary(unary, x),
        Op::MaxPool(pool) => window::max_pool(pool, x, [*shape.get(2)?, *shape.get(3)?]),
        Op::AveragePool(pool) => window::average_pool(pool, x, [*shape.get(2)?, *shape.get(3)?]),
        Op::GlobalAveragePool => norm::globally(Reduction::Mean, x),
        Op::GlobalMaxPool => norm::globally(Reduction::Max, x),
        Op::Reduce {
            reduction, axes, ..
        } => reshape(norm::reduce(*reduction, axes, x), shape),
        Op::Softmax { axis } => Dispatch::softmax(x, *axis),
        Op::LogSoftmax { axis } => Dispatch::log_softmax(x, *axis),
        Op::Concat { axis } => {
            let values = std::iter::once(x).chain(inputs).collect();
            Dispatch::float_cat(values, *axis)
        }
        Op::Slice(parts) => moves::slice(parts, x),
        Op::Gather { axis, indices, .. } => reshape(moves::entries(x, *axis, indices), shape),
        Op::Transpose { perm } => moves::transpose(perm, x),
        Op::Reshape { .. } | Op::Flatten { .. } | Op::Squeeze { .. } | Op::Unsqueeze { .. } => {
            reshape(x, shape)
        }
        Op::Expand { .. } => expand(x, shape),
        Op::Pad(padded) => window::pad(padded, x),
        // They change nothing but in training.
        Op::Dropout { .. } | Op::StochasticDepth { .. } => x,
        Op::Other(_) => return None,
    })
}
