//! Strided views: computing their indices, and reading what they select.

use std::rc::Rc;

use kiln_model::graph::{Dims, Op, Size};

use super::affine::Affine;
use super::call::Call;
use super::constant::Budget;
use super::fold;
use super::rows::Rows;

/// Computes a node that numbers the images of the batch, or goes on with such numbers; none where
/// it does not.
pub fn evaluate(call: &Call<'_>, budget: &mut Budget) -> Option<Rows> {
    match call.node.op_type.as_str() {
        _ if !call.node.is_onnx() => None,
        "Range" => numbered(call),
        "Identity" | "Cast" => call.rows_at(0).cloned(),
        "Unsqueeze" => unsqueezed(call),
        "Mul" => {
            let (rows, other, _) = operands(call)?;
            let [factor] = other[..] else { return None };
            let offsets: Option<_> = rows
                .offsets
                .iter()
                .map(|at| at.checked_mul(factor))
                .collect();
            Some(Rows {
                stride: rows.stride.checked_mul(factor)?,
                offsets: offsets?,
                ..rows.clone()
            })
        }
        "Add" => {
            let (rows, other, other_dims) = operands(call)?;
            let expand = Op::Expand {
                dims: Dims::fixed(other_dims).sizes().to_vec(),
            };
            let dims = expand.output(&[&Dims::fixed(&rows.dims)]).ok()?.of(1)?;
            if !budget.take(dims.iter().product()) {
                return None;
            }
            let sides: [(&[usize], &[i64]); 2] =
                [(&rows.dims, &rows.offsets), (other_dims, &other)];
            let offsets = fold::combined(sides, &dims, i64::checked_add)?;
            Some(Rows {
                dims,
                stride: rows.stride,
                offsets: offsets.into(),
            })
        }
        _ => None,
    }
}

/// `Range` from 0 to the batch.
fn numbered(call: &Call<'_>) -> Option<Rows> {
    let at = |index| call.constant_at(index)?.ints()?.first().copied();
    let batch = Affine::from(Size::Batch(1));
    let all = at(0)? == 0.into() && at(1)? == batch && at(2)? == 1.into();
    all.then(|| Rows {
        dims: Vec::new(),
        stride: 1,
        offsets: Rc::new([0]),
    })
}

fn unsqueezed(call: &Call<'_>) -> Option<Rows> {
    let rows = call.rows_at(0)?;
    let axes = call.setting(1, "axes", 13).ok()??;
    let axes = call.axes(&axes, rows.dims.len() + 1 + axes.len()).ok()?;
    let output = Op::Unsqueeze { axes }.output(&[&rows.shape()]).ok()?;
    Some(Rows {
        // The batch is still the first.
        dims: output.sample()?,
        ..rows.clone()
    })
}

/// The indices, the integers of the other operand and its shape without the batch's axis, along
/// which it is the same.
fn operands<'c>(call: &'c Call<'_>) -> Option<(&'c Rows, Vec<i64>, &'c [usize])> {
    let (rows, other) = match (call.rows_at(0), call.rows_at(1)) {
        (Some(rows), None) => (rows, call.constant_at(1)?),
        (None, Some(rows)) => (rows, call.constant_at(0)?),
        _ => return None,
    };
    let rank = rows.dims.len() + 1;
    let dims = match other.dims.split_first() {
        Some((1, rest)) if other.dims.len() == rank => rest,
        _ if other.dims.len() < rank => &other.dims,
        _ => return None,
    };
    let ints: Option<Vec<i64>> = other.ints()?.iter().map(|int| int.known()).collect();
    Some((rows, ints?, dims))
}

/// Reads a `Gather` of such indices from the values of all images in one row: a view of each image
/// in another shape, perhaps with some values left out or repeated.
pub fn view(call: &Call<'_>, rows: &Rows) -> Option<Vec<Op>> {
    let dims = call.dims(0)?;
    let [Size::Batch(count)] = *dims.sizes() else {
        return None;
    };
    if i64::try_from(count).ok()? != rows.stride {
        return None;
    }
    let indices: Option<Vec<usize>> = rows
        .offsets
        .iter()
        .map(|&at| usize::try_from(at).ok().filter(|&at| at < count))
        .collect();
    let indices = indices?;
    let reshape = |sizes: &[usize]| Op::Reshape {
        dims: Dims::batched(sizes.iter().copied()).sizes().to_vec(),
    };
    if indices.iter().copied().eq(0..count) {
        return Some(vec![reshape(&rows.dims)]);
    }
    let gather = Op::Gather {
        axis: 1,
        dims: vec![indices.len()],
        indices,
    };
    Some(vec![reshape(&[count]), gather, reshape(&rows.dims)])
}
