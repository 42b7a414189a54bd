//! Statistics over axes, and softmax.

use kiln_model::graph::{Count, Op, Reduction};

use crate::error::GraphError;
use crate::graph::call::Call;
use crate::graph::reading::{Reading, unary};

/// Reads an operator of this family; none if it is of another.
pub fn read(operator: &str, call: &Call<'_>) -> Result<Option<Reading>, GraphError> {
    // Axes are an input from opset 18 on, of sums from 13 on.
    Ok(Some(match operator {
        "ReduceMean" => reduce(Reduction::Mean, call, 18)?,
        "ReduceSum" => reduce(Reduction::Sum, call, 13)?,
        "ReduceMax" => reduce(Reduction::Max, call, 18)?,
        "ReduceMin" => reduce(Reduction::Min, call, 18)?,
        "ReduceL2" => reduce(Reduction::L2, call, 18)?,
        "Softmax" => softmax(call, |axis| Op::Softmax { axis })?,
        "LogSoftmax" => softmax(call, |axis| Op::LogSoftmax { axis })?,
        _ => return Ok(None),
    }))
}

fn reduce(reduction: Reduction, call: &Call<'_>, since: i64) -> Result<Reading, GraphError> {
    let place = call.place();
    let rank = call.shape(0)?.rank();
    let axes = call.setting(1, "axes", since)?.unwrap_or_default();
    let axes = if !axes.is_empty() {
        call.axes(&axes, rank)?
    } else if place.int("noop_with_empty_axes", 0) != 0 {
        return Ok(Reading::Same);
    } else {
        (0..rank).collect()
    };
    Ok(unary(Op::Reduce {
        reduction,
        axes,
        keep_dims: place.int("keepdims", 1) != 0,
    }))
}

/// Before opset 13 the axes from `axis` on, 1 by default, were taken for one.
fn softmax(call: &Call<'_>, op: fn(usize) -> Op) -> Result<Reading, GraphError> {
    let place = call.place();
    if call.opset >= 13 {
        let axis = place.int("axis", -1);
        let rank = call.shape(0)?.rank();
        return Ok(unary(op(call.axis(axis, rank, false)?)));
    }
    let dims = call.shape(0)?;
    let axis = call.axis(place.int("axis", 1), dims.rank(), false)?;
    let after = dims.sizes().get(axis + 1..).unwrap_or_default();
    let ones = Count::of(after).is_some_and(|count| (count.factor, count.power) == (1, 0));
    if ones {
        return Ok(unary(op(axis)));
    }
    Ok(Reading::Chain(vec![
        Op::Flatten { axis },
        op(1),
        Op::Reshape {
            dims: dims.sizes().to_vec(),
        },
    ]))
}
