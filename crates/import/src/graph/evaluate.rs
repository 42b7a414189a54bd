//! Computing what does not depend on the image.

use std::rc::Rc;

use kiln_model::graph::{Dims, Op};

use super::affine::Affine;
use super::call::{Call, Known};
use super::constant::{Budgets, Constant, Data};
use super::fold;
use super::integers::{integers, masks};
use super::quantized;
use super::reading::Reading;
use super::special::{Computed, cast, constant_node, filled, resized, scattered};

/// Computes a node none of whose inputs depends on the image; none where that is not possible.
pub fn evaluate<'a>(call: &Call<'a>, budgets: &mut Budgets) -> Option<Computed<'a>> {
    let name = call.node.output.first()?;
    if !call.node.is_onnx() {
        return None;
    }
    let special = match call.node.op_type.as_str() {
        "Constant" => return constant_node(call.node).map(Computed::Constant),
        "ConstantOfShape" => return filled(call, budgets),
        "DequantizeLinear" => Some(quantized::dequantized(call, &mut budgets.floats)?),
        "Resize" | "Upsample" => Some(resized(call)?),
        "Cast" => Some(cast(call)?),
        "CastLike" | "Dropout" => return None,
        "ScatterND" => Some(scattered(call, budgets)?),
        _ => integers(call, budgets).or_else(|| masks(call, budgets)),
    };
    if let Some((dims, data)) = special {
        return Some(Computed::Constant(Constant { name, dims, data }));
    }
    let reading = super::ops::read(call).ok()?;
    match reading {
        Reading::Same => match call.inputs.first()?.as_ref()? {
            Known::Constant(constant) => Some(Computed::Constant(constant.clone())),
            Known::Live(_) | Known::Repeated(_) | Known::Rows(_) | Known::Unknown => None,
        },
        Reading::One(op, inputs) => {
            let inputs: Option<Vec<_>> = inputs
                .into_iter()
                .map(|index| call.constant_at(index))
                .collect();
            computed(&op, &inputs?, name, budgets)
        }
        Reading::Chain(_) | Reading::Fold(_) | Reading::Outputs(_) => None,
    }
}

/// Computes the parts of a `Split` of a constant.
pub fn parts<'a>(call: &Call<'a>, budgets: &mut Budgets) -> Option<Vec<Constant<'a>>> {
    let Reading::Outputs(ops) = super::ops::read(call).ok()? else {
        return None;
    };
    let input = call.constant_at(0)?;
    let parts = ops.iter().zip(&call.node.output).map(|(op, name)| {
        match computed(op, &[input], name, budgets)? {
            Computed::Constant(part) => Some(part),
            Computed::Repeated(..) => None,
        }
    });
    parts.collect()
}

/// Computes an operator of constants; where that fails, the shape alone.
fn computed<'a>(
    op: &Op,
    inputs: &[&Constant<'a>],
    name: &'a str,
    budgets: &mut Budgets,
) -> Option<Computed<'a>> {
    let shapes: Vec<Dims> = inputs.iter().map(|it| Dims::fixed(&it.dims)).collect();
    let output = op.output(&shapes.iter().collect::<Vec<_>>()).ok()?;
    let fixed: Option<Vec<usize>> = output.sizes().iter().map(|size| size.fixed()).collect();
    let Some(dims) = fixed else {
        let [constant] = inputs else { return None };
        return Some(Computed::Repeated((*constant).clone(), output));
    };
    let count: usize = dims.iter().product();
    if op.only_moves() && inputs.iter().all(|input| input.is_integer()) {
        let values: Option<Vec<_>> = inputs.iter().map(|input| input.ints()).collect();
        let values = values.filter(|_| budgets.ints.take(count))?;
        let pairs: Vec<(&[usize], &[Affine])> = inputs
            .iter()
            .zip(&values)
            .map(|(input, values)| (input.dims.as_slice(), &**values))
            .collect();
        let data = Data::Ints(fold::moved(op, &pairs, &dims)?.into());
        return Some(Computed::Constant(Constant { name, dims, data }));
    }
    if inputs.iter().any(|input| input.is_integer()) {
        return None;
    }
    let data = floats(op, inputs, &dims, budgets).unwrap_or_else(Data::Missing);
    Some(Computed::Constant(Constant { name, dims, data }))
}

fn floats<'a>(
    op: &Op,
    inputs: &[&Constant<'a>],
    dims: &[usize],
    budgets: &mut Budgets,
) -> Result<Data<'a>, Rc<str>> {
    let beyond = || -> Rc<str> {
        let name = inputs.first().map_or("", |input| input.name);
        format!(
            "{} of the constant `{name}` cannot be computed: export the model again with constants folded",
            op.name()
        )
        .into()
    };
    if let (
        true,
        [
            Constant {
                data: Data::Fill(value),
                ..
            },
        ],
    ) = (op.only_moves(), inputs)
    {
        return Ok(Data::Fill(*value));
    }
    if !budgets.floats.take(dims.iter().product()) {
        return Err(beyond());
    }
    let values: Result<Vec<_>, _> = inputs
        .iter()
        .map(|input| input.floats(&mut budgets.floats))
        .collect();
    let values = values?;
    let pairs: Vec<(&[usize], &[f32])> = inputs
        .iter()
        .zip(&values)
        .map(|(input, values)| (input.dims.as_slice(), &**values))
        .collect();
    let found = if let (Op::Binary(binary), [left, right]) = (op, pairs.as_slice()) {
        fold::combined([*left, *right], dims, |a, b| {
            Some(fold::binary(*binary, a, b))
        })
    } else if let (Op::Unary(unary), [(_, values)]) = (op, pairs.as_slice()) {
        fold::unary(unary).map(|of| values.iter().copied().map(of).collect())
    } else {
        fold::moved(op, &pairs, dims)
    };
    found
        .map(|found| Data::Floats(found.into()))
        .ok_or_else(beyond)
}
