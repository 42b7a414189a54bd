//! Operators that arrange numbers.

use burn::backend::Dispatch;
use burn::backend::TensorMetadata;
use burn::backend::ops::{FloatTensorOps, IntTensorOps};
use burn::tensor::{Slice, TensorData};
use kiln_model::graph::SliceAxis;

use super::value::{Value, dims};

/// Takes parts of some axes.
pub fn slice(parts: &[SliceAxis], x: Value) -> Value {
    let mut slices: Vec<_> = dims(&x)
        .into_iter()
        .map(|size| Slice::from(0..size))
        .collect();
    for part in parts {
        let end = part.start + (part.length - 1) * part.step + 1;
        slices[part.axis] = Slice::new(part.start as isize, Some(end as isize), part.step as isize);
    }
    Dispatch::float_slice(x, &slices)
}

/// Takes entries of one axis, in this order.
pub fn entries(x: Value, axis: usize, indices: &[usize]) -> Value {
    if let [only] = *indices {
        let part = SliceAxis {
            axis,
            start: only,
            step: 1,
            length: 1,
        };
        return slice(&[part], x);
    }
    let indices: Vec<i64> = indices.iter().map(|&index| index as i64).collect();
    let count = indices.len();
    let indices = Dispatch::int_from_data(TensorData::new(indices, [count]), &x.device());
    Dispatch::float_select(x, axis, indices)
}

/// Arranges the axes in another order.
pub fn transpose(perm: &[usize], x: Value) -> Value {
    if perm.is_sorted() {
        return x;
    }
    Dispatch::float_permute(x, perm)
}
