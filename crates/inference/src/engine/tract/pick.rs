//! Strided slices that tract cannot place, replaced.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::array::{Gather, StridedSlice};
use tract_onnx::tract_core::ops::change_axes::AxisOp;

/// Picks elements by their places where a strided slice takes a reshaped value: tract 0.23 puts the slice
/// before the reshaping, and fails.
pub fn pick_strided(mut model: TypedModel) -> TractResult<TypedModel> {
    for id in 0..model.nodes.len() {
        let node = model.node(id);
        let [input, ..] = node.inputs[..] else {
            continue;
        };
        let Some(picks) = picks(&model, node)? else {
            continue;
        };
        let name = node.name.clone();
        let mut patch = TypedModelPatch::default();
        let mut wire = patch.tap_model(&model, input)?;
        for (axis, places) in picks {
            let places = patch.add_const(format!("{name}.places-{axis}"), tensor1(&places))?;
            let picked = format!("{name}.axis-{axis}");
            wire = patch.wire_node(picked, Gather::new(axis), &[wire, places])?[0];
        }
        patch.shunt_outside(&model, id.into(), wire)?;
        patch.obliterate(id)?;
        patch.apply(&mut model)?;
    }
    Ok(model)
}

/// An axis, and the places of the elements that are taken along it.
type Pick = (usize, Vec<i64>);

/// The axes of a strided slice that takes a reshaped value, with the places of the elements that it
/// takes; none for other nodes, and where they are not known.
fn picks(model: &TypedModel, node: &TypedNode) -> TractResult<Option<Vec<Pick>>> {
    let Some(slice) = node.op_as::<StridedSlice>() else {
        return Ok(None);
    };
    let shape = model.outlet_fact(node.inputs[0])?.shape.clone();
    let constant =
        |at: usize| -> TractResult<_> { Ok(model.outlet_fact(node.inputs[at])?.konst.clone()) };
    let ints = |at: Option<usize>| -> TractResult<Option<Vec<i32>>> {
        let Some(tensor) = at.map(constant).transpose()?.flatten() else {
            return Ok(None);
        };
        let tensor = tensor.cast_to::<i32>()?;
        Ok(Some(
            tensor
                .to_plain_array_view::<i32>()?
                .iter()
                .copied()
                .collect(),
        ))
    };
    let (Some(begin), Some(end), Some(steps)) = (
        constant(1)?,
        constant(2)?,
        ints(slice.optional_steps_input)?,
    ) else {
        return Ok(None);
    };
    let is_reshaped = model.node(node.inputs[0].node).op_is::<AxisOp>();
    if !is_reshaped || steps.iter().all(|&step| step == 1) || steps.iter().any(|&step| step < 1) {
        return Ok(None);
    }
    let rank = shape.rank() as i32;
    let sliced = ints(slice.optional_axes_input)?.unwrap_or_else(|| (0..rank).collect());
    let mut picks = Vec::new();
    for (at, axis) in sliced.into_iter().enumerate() {
        let axis = (if axis < 0 { axis + rank } else { axis }) as usize;
        let Some(size) = shape.get(axis) else {
            return Ok(None);
        };
        let part = slice.prepare_one_dim(at, size, &begin, &end, &steps)?;
        let (Some(begin), Some(end)) = (part.begin.as_i64(), part.end.as_i64()) else {
            return Ok(None);
        };
        picks.push((axis, (begin..end).step_by(part.stride as usize).collect()));
    }
    Ok(Some(picks))
}
