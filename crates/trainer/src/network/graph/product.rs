//! Matrix products.

use burn::backend::Dispatch;
use burn::backend::ops::FloatTensorOps;
use kiln_model::graph::Gemm;

use super::value::{Value, add, aligned, dims, rank, reshape, times};

/// `A · B` over the last two axes; those before broadcast.
pub fn matmul(left: Value, right: Value) -> Value {
    if rank(&right) == 2 && rank(&left) > 2 {
        return rows_by_matrix(left, right);
    }
    let [left, right] = aligned(left, right);
    Dispatch::float_matmul(left, right)
}

/// Many matrices times the same one: all their rows as one matrix.
fn rows_by_matrix(left: Value, right: Value) -> Value {
    let mut shape = dims(&left);
    let inner = shape[shape.len() - 1];
    let rows: usize = shape[..shape.len() - 1].iter().product();
    let product = Dispatch::float_matmul(reshape(left, &[rows, inner]), right);
    let last = shape.len() - 1;
    shape[last] = dims(&product)[1];
    reshape(product, &shape)
}

/// `alpha · A · B + beta · C`.
pub fn gemm(settings: Gemm, left: Value, right: Value, added: Option<Value>) -> Value {
    let turned = |value: Value, turn: bool| {
        if turn {
            Dispatch::float_swap_dims(value, 0, 1)
        } else {
            value
        }
    };
    let product = Dispatch::float_matmul(
        turned(left, settings.trans_a),
        turned(right, settings.trans_b),
    );
    let product = scaled(product, settings.alpha);
    match added {
        Some(added) => {
            let [product, added] = aligned(product, scaled(added, settings.beta));
            add(product, added)
        }
        None => product,
    }
}

fn scaled(value: Value, factor: f32) -> Value {
    let changes = (factor - 1.0).abs() > 0.0;
    if changes { times(value, factor) } else { value }
}
