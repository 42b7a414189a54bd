//! Sums of products, tract's `EinSum`: dense layers, convolutions of one pixel, products of matrices.

use std::sync::Arc;

use kiln_kernels::{Activation, Conv2d, MatMul, Matrix};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::einsum::EinSum;

use super::convert::{Input, Node, floats};
use super::draft::{Builder, Conv, Draft, Weights};
use super::strided::{Strided, copy};
use super::view::View;

/// The axes of a sum of products, by the operands that have them: each as its places in the left operand, the right one and
/// the output.
#[derive(Default)]
struct Roles {
    /// In both operands and the output.
    shared: Vec<[usize; 3]>,
    /// In the left operand and the output.
    rows: Vec<[usize; 2]>,
    /// In the right operand and the output.
    columns: Vec<[usize; 2]>,
    /// In both operands: summed up.
    depth: Vec<[usize; 2]>,
}

impl Roles {
    /// None where an operand has an axis twice, or one of more than one element of its own that the output lacks.
    fn new(
        op: &EinSum,
        [left, right]: [usize; 2],
        sizes: [&dyn Fn(usize) -> usize; 2],
    ) -> Option<Self> {
        let mut roles = Self::default();
        for axis in op.axes.iter_all_axes() {
            let place = |places: &[usize]| match *places {
                [] => Some(None),
                [place] => Some(Some(place)),
                _ => None,
            };
            let (a, b) = (place(&axis.inputs[left])?, place(&axis.inputs[right])?);
            match (a, b, place(&axis.outputs[0])?) {
                (Some(a), Some(b), Some(out)) => roles.shared.push([a, b, out]),
                (Some(a), None, Some(out)) => roles.rows.push([a, out]),
                (None, Some(b), Some(out)) => roles.columns.push([b, out]),
                (Some(a), Some(b), None) => roles.depth.push([a, b]),
                (Some(a), None, None) if sizes[0](a) == 1 => {}
                (None, Some(b), None) if sizes[1](b) == 1 => {}
                (None, None, _) => {}
                _ => return None,
            }
        }
        roles.columns.sort_by_key(|[_, out]| *out);
        Some(roles)
    }
}

/// Adds the steps of a sum of products, and returns its output.
pub fn convert(node: &Node<'_>, builder: &mut Builder, op: &EinSum) -> Option<View> {
    if op.q_params.is_some() || op.operating_dt != f32::datum_type() {
        return None;
    }
    match &node.inputs[..] {
        [Input::Tensor { view, .. }, Input::Constant(weights)] => {
            dense(node, builder, op, [0, 1], view, weights)
        }
        [Input::Constant(weights), Input::Tensor { view, .. }] => {
            dense(node, builder, op, [1, 0], view, weights)
        }
        [Input::Tensor { view: a, .. }, Input::Tensor { view: b, .. }] => {
            matmul(node, builder, op, a, b)
        }
        _ => None,
    }
}

/// A tensor by weights: `places` are those of the two among the operands.
fn dense(
    node: &Node<'_>,
    builder: &mut Builder,
    op: &EinSum,
    places: [usize; 2],
    view: &View,
    weights: &Arc<Tensor>,
) -> Option<View> {
    let size = |axis: usize| view.size(axis);
    let of_weights = |axis: usize| weights.shape()[axis];
    let roles = Roles::new(op, places, [&size, &of_weights])?;
    let to_output = |axis: usize| {
        roles
            .rows
            .iter()
            .find(|[from, _]| *from == axis)
            .map(|[_, out]| *out)
    };
    if !roles.shared.is_empty() || view.batch().and_then(to_output) != node.batch {
        return None;
    }
    let is_summed = |axis: &usize| roles.depth.iter().any(|[from, _]| from == axis);
    let (summed, rows): (Vec<usize>, Vec<usize>) =
        view.by_stride().into_iter().partition(is_summed);
    let rows: Vec<_> = rows
        .into_iter()
        .filter(|&axis| to_output(axis).is_some())
        .collect();
    let product = |axes: &[usize]| axes.iter().map(|&axis| view.size(axis)).product::<usize>();
    let (count, depth) = (product(&rows), product(&summed));
    // The weights as [columns, depth], both in the order in which they lie in memory.
    let of_depth = summed.iter().filter_map(|&axis| {
        roles
            .depth
            .iter()
            .find(|[from, _]| *from == axis)
            .map(|[_, to]| *to)
    });
    let of_columns = roles.columns.iter().map(|[from, _]| *from);
    let order: Vec<usize> = of_columns.chain(of_depth).collect();
    let sizes: Vec<_> = order.iter().map(|&axis| weights.shape()[axis]).collect();
    let columns: usize = sizes[..roles.columns.len()].iter().product();
    if columns * depth != weights.len() {
        return None;
    }
    let weights = if order.iter().copied().eq(0..weights.rank()) {
        Weights::of(weights)?
    } else {
        let row_major = Strided::row_major(weights.shape());
        let strides = order.iter().map(|&axis| row_major.strides[axis]);
        let from = Strided {
            offset: 0,
            strides: strides.collect(),
        };
        let (values, mut ordered) = (floats(weights)?, vec![0.0; weights.len()]);
        copy(
            &sizes,
            (&values, &from),
            &mut ordered,
            &Strided::row_major(&sizes),
        );
        Weights::Own(ordered)
    };

    let whole = [rows.as_slice(), &summed].concat();
    let (of, sizes) = if let Some(sizes) = strided(builder, view, &rows, depth, columns) {
        (view.value, sizes)
    } else {
        let view = builder.whole(view, &whole);
        (
            view.value,
            Conv2d::new([1, 1, count, depth], columns, [1, 1]),
        )
    };
    let conv = Conv {
        sizes,
        weights,
        bias: None,
        of,
        residual: None,
        activation: Activation::Linear,
    };
    let value = builder.push(Draft::Conv(conv), count * columns);
    let mut order: Vec<_> = rows.iter().filter_map(|&axis| to_output(axis)).collect();
    order.extend(roles.columns.iter().map(|[_, out]| *out));
    Some(node.output(value, &order))
}

/// The sizes of a convolution of one pixel with a stride, where the rows of the product are every second, third, … row and column
/// of an image's pixels.
fn strided(
    builder: &Builder,
    view: &View,
    rows: &[usize],
    channels: usize,
    filters: usize,
) -> Option<Conv2d> {
    let large: Vec<_> = rows
        .iter()
        .copied()
        .filter(|&axis| view.size(axis) > 1)
        .collect();
    let [down, across] = large[..] else {
        return None;
    };
    let ((height, row), (width, pixel)) = (view.axis(down)?, view.axis(across)?);
    let step = pixel.checked_div(channels)?;
    if view.offset != 0 || step < 2 || pixel % channels != 0 || row % pixel != 0 {
        return None;
    }
    let columns = row / pixel;
    let lines = builder.len(view.value) / (columns * channels).max(1);
    let sizes = Conv2d {
        stride: [step; 2],
        ..Conv2d::new([1, lines, columns, channels], filters, [1, 1])
    };
    let is_all = lines * columns * channels == builder.len(view.value);
    let fits = sizes
        .checked()
        .is_ok_and(|shape| shape.output() == [height, width]);
    (is_all && fits).then_some(sizes)
}

/// Products of matrices of the same image, one for each element of an axis that both have, such as heads.
fn matmul(node: &Node<'_>, builder: &mut Builder, op: &EinSum, a: &View, b: &View) -> Option<View> {
    let roles = Roles::new(op, [0, 1], [&|axis| a.size(axis), &|axis| b.size(axis)])?;
    let is_batch = |[of_a, of_b, out]: &[usize; 3]| {
        let batch = node.batch;
        batch.is_some()
            && [a.batch(), b.batch(), batch] == [of_a, of_b, out].map(|axis| Some(*axis))
    };
    if node.batch.is_some() && !roles.shared.iter().any(is_batch) {
        return None;
    }
    // Of each role one axis of more than one element at most.
    let single = |places: Vec<usize>, of: &View| -> Option<Option<usize>> {
        let mut large = places.into_iter().filter(|&axis| of.size(axis) > 1);
        let first = large.next();
        large.next().is_none().then_some(first)
    };
    let inner: Vec<_> = roles.shared.iter().filter(|axis| !is_batch(axis)).collect();
    let heads = inner
        .iter()
        .filter(|[of_a, _, _]| a.size(*of_a) > 1)
        .copied()
        .copied()
        .collect::<Vec<_>>();
    if heads.len() > 1 {
        return None;
    }
    let head = heads.first();
    let rows = single(roles.rows.iter().map(|[from, _]| *from).collect(), a)?;
    let columns = single(roles.columns.iter().map(|[from, _]| *from).collect(), b)?;
    let depth = single(roles.depth.iter().map(|[from, _]| *from).collect(), a)?;
    let depth_b = single(roles.depth.iter().map(|[_, from]| *from).collect(), b)?;
    let out_of = |places: &[[usize; 2]], axis: Option<usize>| {
        places
            .iter()
            .find(|[from, _]| Some(*from) == axis)
            .map(|[_, out]| *out)
    };
    let stride = |view: &View, axis: Option<usize>| {
        axis.and_then(|axis| view.axis(axis))
            .map_or((1, 0), |(size, stride)| (size, stride))
    };
    // The left operand is read along its rows.
    let copied;
    let a = if stride(a, depth).1 > 1 {
        let mut order = a.by_stride();
        order.retain(|&axis| Some(axis) != depth);
        order.extend(depth);
        copied = builder.whole(a, &order);
        &copied
    } else {
        a
    };
    let (out_head, out_rows, out_columns) = (
        head.map(|[_, _, out]| *out),
        out_of(&roles.rows, rows),
        out_of(&roles.columns, columns),
    );
    // As in the output where the columns are last there.
    let mut order: Vec<_> = out_head.into_iter().chain(out_rows).collect();
    order.sort_unstable();
    order.extend(out_columns);
    let length = order.iter().map(|&axis| node.shape[axis]).product();
    if length != node.len() {
        return None;
    }
    let draft = |value| {
        let c = node.output(value, &order);
        let place = |view: &View, head: Option<usize>, rows, columns| Matrix {
            offset: view.offset,
            matrices: [0, stride(view, head).1],
            rows: stride(view, rows).1,
            columns: stride(view, columns).1,
        };
        let along = |matrix: Matrix| Matrix {
            columns: matrix.columns.max(1),
            ..matrix
        };
        let sizes = MatMul {
            count: [1, head.map_or(1, |[of_a, _, _]| a.size(*of_a))],
            rows: stride(a, rows).0,
            depth: stride(a, depth).0,
            columns: stride(b, columns).0,
            a: along(place(a, head.map(|[of_a, _, _]| *of_a), rows, depth)),
            b: along(place(b, head.map(|[_, of_b, _]| *of_b), depth_b, columns)),
            c: along(place(&c, out_head, out_rows, out_columns)),
        };
        (c, sizes)
    };
    let (_, sizes) = draft(a.value);
    let of = [a.value, b.value];
    sizes.checked().ok()?;
    let value = builder.push(Draft::MatMul { sizes, of }, length);
    Some(draft(value).0)
}
