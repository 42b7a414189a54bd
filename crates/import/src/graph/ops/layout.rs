//! Operators that arrange values.

use kiln_model::graph::{Dims, Op, Size, SliceAxis};

use super::reshape;
use crate::attributes::sizes_of;
use crate::error::GraphError;
use crate::graph::affine::Affine;
use crate::graph::call::Call;
use crate::graph::reading::{Reading, unary};
use crate::graph::views;

/// The most entries that a slice may take backward.
const MAX_INDICES: usize = 1 << 16;

/// Reads an operator of this family; none if it is of another.
pub fn read(operator: &str, call: &Call<'_>) -> Result<Option<Reading>, GraphError> {
    let place = call.place();
    Ok(Some(match operator {
        "Concat" => {
            let rank = (0..call.count()).find_map(|index| Some(call.dims(index)?.rank()));
            let rank = rank.ok_or_else(|| GraphError::NoShape {
                node: call.node.describe(),
            })?;
            let axis = call.axis(place.int("axis", 1), rank, false)?;
            Reading::One(Op::Concat { axis }, (0..call.count()).collect())
        }
        "Transpose" => {
            let perm = match place.ints("perm") {
                Some(perm) => call_perm(call, perm)?,
                None => (0..call.shape(0)?.rank()).rev().collect(),
            };
            unary(Op::Transpose { perm })
        }
        "Reshape" => unary(Op::Reshape {
            dims: reshape::target(call)?,
        }),
        "Flatten" => {
            let axis = place.int("axis", 1);
            let axis = match usize::try_from(axis) {
                Ok(axis) => axis,
                Err(_) => call.axis(axis, call.shape(0)?.rank(), true)?,
            };
            unary(Op::Flatten { axis })
        }
        "Squeeze" => squeeze(call)?,
        "Unsqueeze" => {
            let axes = call.setting(1, "axes", 13)?;
            let axes = axes.ok_or_else(|| place.left_out("axes"))?;
            let rank = call.shape(0)?.rank() + axes.len().min(Dims::MAX_RANK);
            unary(Op::Unsqueeze {
                axes: call.axes(&axes, rank)?,
            })
        }
        "Expand" => {
            let target = call.affines(1, "shape")?;
            let target = target.ok_or_else(|| place.left_out("shape"))?;
            let dims: Option<Vec<Size>> = target.iter().map(|size| size.size()).collect();
            match dims {
                Some(dims) => unary(Op::Expand { dims }),
                None => return place.mismatch("shape", "sizes", target.len()),
            }
        }
        "Slice" => slice(call)?,
        "Gather" => gather(call)?,
        "Split" => split(call)?,
        _ => return Ok(None),
    }))
}

fn call_perm(call: &Call<'_>, perm: &[i64]) -> Result<Vec<usize>, GraphError> {
    let axes: Option<Vec<usize>> = perm
        .iter()
        .map(|&axis| usize::try_from(axis).ok())
        .collect();
    if let Some(axes) = axes.filter(|axes| axes.len() <= Dims::MAX_RANK) {
        return Ok(axes);
    }
    let few = perm.get(..=Dims::MAX_RANK).unwrap_or(perm);
    call.place().mismatch("perm", "every axis once", few)
}

fn squeeze(call: &Call<'_>) -> Result<Reading, GraphError> {
    let dims = call.shape(0)?;
    let axes = match call.setting(1, "axes", 13)? {
        Some(axes) => call.axes(&axes, dims.rank())?,
        None => (0..dims.rank())
            .filter(|&axis| dims.sizes()[axis] == Size::Fixed(1))
            .collect(),
    };
    Ok(unary(Op::Squeeze { axes }))
}

/// Starts, ends, axes and steps are inputs from opset 10 on. What reaches over the whole batch is
/// left out.
fn slice(call: &Call<'_>) -> Result<Reading, GraphError> {
    let place = call.place();
    let dims = call.shape(0)?;
    let affine = |index, what| -> Result<Option<Vec<Affine>>, GraphError> {
        if call.opset >= 10 {
            return call.affines(index, what);
        }
        let ints = place.ints(what);
        Ok(ints.map(|ints| ints.iter().copied().map(Affine::from).collect()))
    };
    let starts = affine(1, "starts")?.ok_or_else(|| place.left_out("starts"))?;
    let ends = affine(2, "ends")?.ok_or_else(|| place.left_out("ends"))?;
    let along = call.setting(3, "axes", 10)?;
    let count = starts.len();
    let along = along.unwrap_or_else(|| (0..count.min(64) as i64).collect());
    let steps = if call.opset >= 10 {
        call.ints(4, "steps")?
    } else {
        None
    };
    let steps = steps.unwrap_or_else(|| vec![1; count.min(64)]);
    if count > dims.rank() || [ends.len(), along.len(), steps.len()] != [count; 3] {
        return place.mismatch("starts", "one for each axis", count);
    }
    call.axes(&along, dims.rank())?;
    if let ([only], [step @ ..0]) = (along.as_slice(), steps.as_slice()) {
        let axis = call.axis(*only, dims.rank(), false)?;
        let size = call.fixed(&dims, axis)?;
        let indices = backward(size, [starts[0], ends[0]], *step);
        let indices = indices.filter(|indices| !indices.is_empty());
        return match indices {
            Some(indices) => Ok(unary(Op::Gather {
                axis,
                dims: vec![indices.len()],
                indices,
            })),
            None => place.mismatch("steps", "entries of the axis", step),
        };
    }
    let mut parts = Vec::with_capacity(count);
    for (at, &given) in along.iter().enumerate() {
        let axis = call.axis(given, dims.rank(), false)?;
        match dims.sizes()[axis] {
            Size::Fixed(size) => {
                let part = part(axis, size, [starts[at], ends[at]], steps[at]);
                let Some(part) = part else {
                    return place.mismatch(
                        "starts, ends and steps",
                        "entries in ascending order",
                        (starts[at], ends[at], steps[at]),
                    );
                };
                if (part.start, part.step, part.length) != (0, 1, size) {
                    parts.push(part);
                }
            }
            size @ Size::Batch(_) => {
                let whole = ends[at] == Affine::from(size)
                    || ends[at].known().is_some_and(|end| {
                        end >= i64::from(i32::MAX)
                            || call.file_batch.is_some_and(|batch| end >= batch as i64)
                    });
                if !whole || starts[at] != Affine::from(0) || steps[at] != 1 {
                    return place.mismatch("axes", "none of the batch", axis);
                }
            }
        }
    }
    Ok(if parts.is_empty() {
        Reading::Same
    } else {
        unary(Op::Slice(parts))
    })
}

/// The entries from a start up to an end, each from the last where negative.
fn part(axis: usize, size: usize, limits: [Affine; 2], step: i64) -> Option<SliceAxis> {
    let whole = i64::try_from(size).ok()?;
    let [start, end] = limits.map(|limit| {
        let limit = limit.known()?;
        let limit = if limit < 0 {
            limit.saturating_add(whole)
        } else {
            limit
        };
        usize::try_from(limit.clamp(0, whole)).ok()
    });
    let (start, end) = (start?, end?);
    let step = usize::try_from(step).ok().filter(|&step| step > 0)?;
    let length = end.saturating_sub(start).div_ceil(step);
    Some(SliceAxis {
        axis,
        start,
        step,
        length,
    })
}

/// The entries from a start down to an end, which is left out, each from the last where negative.
fn backward(size: usize, [start, end]: [Affine; 2], step: i64) -> Option<Vec<usize>> {
    let whole = i64::try_from(size).ok()?;
    let limit = |limit: Affine, highest: i64| {
        let limit = limit.known()?;
        let limit = if limit < 0 {
            limit.saturating_add(whole)
        } else {
            limit
        };
        Some(limit.clamp(-1, highest))
    };
    let (start, end) = (limit(start, whole - 1)?, limit(end, whole - 1)?);
    let mut indices = Vec::new();
    let mut at = start;
    while at > end && indices.len() < MAX_INDICES {
        indices.push(usize::try_from(at).ok()?);
        at = at.checked_add(step)?;
    }
    Some(indices).filter(|_| at <= end)
}

fn gather(call: &Call<'_>) -> Result<Reading, GraphError> {
    let place = call.place();
    let dims = call.shape(0)?;
    let axis = call.axis(place.int("axis", 0), dims.rank(), false)?;
    if let Some(ops) = call.rows_at(1).and_then(|rows| views::view(call, rows)) {
        return Ok(Reading::Chain(ops));
    }
    let size = call.fixed(&dims, axis)?;
    let found = call.ints(1, "indices")?;
    let found = found.ok_or_else(|| place.left_out("indices"))?;
    let shape = call.constant(1, "indices")?;
    let shape = shape.map(|constant| constant.dims.clone());
    let indices = found.iter().map(|&index| {
        let index = if index < 0 {
            index.saturating_add(size as i64)
        } else {
            index
        };
        usize::try_from(index).ok().filter(|&index| index < size)
    });
    match indices.collect() {
        Some(indices) => Ok(unary(Op::Gather {
            axis,
            indices,
            dims: shape.unwrap_or_default(),
        })),
        None => place.mismatch(
            "indices",
            &format!("indices of {size} entries"),
            found.len(),
        ),
    }
}

/// Sizes are an input from opset 13 on; without them all parts are the same but for the last.
fn split(call: &Call<'_>) -> Result<Reading, GraphError> {
    let place = call.place();
    let dims = call.shape(0)?;
    let axis = call.axis(place.int("axis", 0), dims.rank(), false)?;
    let size = call.fixed(&dims, axis)?;
    let outputs = call.node.output.len();
    let given = call.setting(1, "split", 13)?;
    let lengths = if let Some(lengths) = given.as_deref() {
        sizes_of(lengths)
    } else {
        equal_parts(size, outputs)
    };
    let total = lengths
        .iter()
        .flatten()
        .try_fold(0_usize, |sum, &length| sum.checked_add(length));
    let Some(lengths) = lengths.filter(|found| found.len() == outputs && total == Some(size))
    else {
        return place.mismatch(
            "split",
            &format!("{outputs} sizes that add up to {size}"),
            given.unwrap_or_default(),
        );
    };
    let mut start = 0;
    let parts = lengths.into_iter().map(|length| {
        let part = SliceAxis {
            axis,
            start,
            step: 1,
            length,
        };
        start += length;
        Op::Slice(vec![part])
    });
    Ok(Reading::Outputs(parts.collect()))
}

/// The sizes of as many parts that are the same but for the last, which may be smaller.
fn equal_parts(size: usize, count: usize) -> Option<Vec<usize>> {
    let before = count.checked_sub(1)?;
    let length = size.div_ceil(count);
    let rest = size.checked_sub(length.checked_mul(before)?)?;
    let parts = std::iter::repeat_n(length, before).chain([rest]);
    (rest > 0).then(|| parts.collect())
}
