//! Computing what does not depend on the image: shape arithmetic, and floats of constants.

use std::rc::Rc;

use kiln_model::graph::{Binary, Dims, Op};
use kiln_onnx::{AttributeProto, NodeProto};

use super::affine::Affine;
use super::constant::{Budget, Constant, Data, is_float};
use super::fold;
use super::ops::{Call, Known, Reading};
use super::quantized;
use super::tensor;
use crate::error::GraphError;

/// How many values may be computed in one graph.
#[derive(Debug)]
pub struct Budgets {
    /// Integers.
    pub ints: Budget,
    /// Floats.
    pub floats: Budget,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            ints: Budget::of(1 << 22),
            floats: Budget::of(1 << 27),
        }
    }
}

/// What becomes of a node whose inputs do not depend on the image.
#[derive(Debug)]
pub enum Computed<'a> {
    /// A constant.
    Constant(Constant<'a>),
    /// A constant that is repeated for every image of the batch, to this shape.
    Repeated(Constant<'a>, Dims),
}

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
            Known::Live(_) | Known::Repeated(_) | Known::Unknown => None,
        },
        Reading::One(op, inputs) => {
            let inputs: Option<Vec<_>> = inputs
                .into_iter()
                .map(|index| constant_at(call, index))
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
    let input = constant_at(call, 0)?;
    let parts = ops.iter().zip(&call.node.output).map(|(op, name)| {
        match computed(op, &[input], name, budgets)? {
            Computed::Constant(part) => Some(part),
            Computed::Repeated(..) => None,
        }
    });
    parts.collect()
}

fn constant_at<'c, 'a>(call: &'c Call<'a>, index: usize) -> Option<&'c Constant<'a>> {
    match call.inputs.get(index)?.as_ref()? {
        Known::Constant(constant) => Some(constant),
        Known::Live(_) | Known::Repeated(_) | Known::Unknown => None,
    }
}

/// The value of a `Constant` node.
fn constant_node(node: &NodeProto) -> Option<Constant<'_>> {
    let name = node.output.first()?;
    let of = |dims: Vec<usize>, data| Constant { name, dims, data };
    let ints = |ints: &[i64]| Data::Ints(ints.iter().copied().map(Affine::from).collect());
    node.attribute.iter().find_map(|attribute| {
        let AttributeProto {
            i, f, ints: list, ..
        } = attribute;
        match attribute.name.as_str() {
            "value" => Constant::of(name, attribute.t.as_ref()?),
            "value_int" => Some(of(Vec::new(), ints(&[i.unwrap_or(0)]))),
            "value_ints" => Some(of(vec![list.len()], ints(list))),
            "value_float" => Some(of(Vec::new(), Data::Floats(vec![f.unwrap_or(0.0)].into()))),
            "value_floats" => Some(of(
                vec![attribute.floats.len()],
                Data::Floats(attribute.floats.clone().into()),
            )),
            _ => None,
        }
    })
}

/// `ConstantOfShape`: one value everywhere, a float 0 by default.
fn filled<'a>(call: &Call<'a>, budgets: &mut Budgets) -> Option<Computed<'a>> {
    let name = call.node.output.first()?;
    let shape = call.affines(0, "input").ok()??;
    if shape.len() > Dims::MAX_RANK {
        return None;
    }
    let mut value = call.node.attribute.iter().filter(|it| it.name == "value");
    let value = value.next().and_then(|attribute| attribute.t.as_ref());
    let sizes: Dims = shape
        .iter()
        .map(|size| size.size())
        .collect::<Option<Vec<_>>>()?
        .into();
    sizes.count()?;
    let fixed: Option<Vec<usize>> = sizes.sizes().iter().map(|size| size.fixed()).collect();
    if let Some(tensor) = value.filter(|tensor| !tensor::is_float(tensor)) {
        let dims = fixed?;
        let count = dims.iter().product();
        let int = *tensor::ints(tensor)?.first()?;
        let data = budgets
            .ints
            .take(count)
            .then(|| Data::Ints(vec![int.into(); count].into()))?;
        return Some(Computed::Constant(Constant { name, dims, data }));
    }
    let value = match value {
        Some(tensor) => *tensor::floats(tensor).ok()?.first()?,
        None => 0.0,
    };
    let data = Data::Fill(value);
    Some(match fixed {
        Some(dims) => Computed::Constant(Constant { name, dims, data }),
        None => {
            let dims = vec![1; shape.len()];
            Computed::Repeated(Constant { name, dims, data }, sizes)
        }
    })
}

/// `Resize` of a constant, such as a table of positions: only the shape is known.
fn resized<'a>(call: &Call<'a>) -> Option<(Vec<usize>, Data<'a>)> {
    let dims = &constant_at(call, 0)?.dims;
    let sizes = match call.ints(3, "sizes") {
        Ok(Some(sizes)) => crate::attributes::sizes_of(&sizes)?,
        _ => {
            let index = if call.node.op_type == "Upsample" {
                1
            } else {
                2
            };
            let scales = constant_at(call, index)?;
            let scales = scales.floats(&mut Budget::of(Dims::MAX_RANK)).ok()?;
            let scaled = dims.iter().zip(scales.iter());
            scaled
                .map(|(&size, &scale)| (size as f32 * scale).floor() as usize)
                .collect()
        }
    };
    let reason = GraphError::Resized {
        node: call.node.describe(),
    };
    let fits = sizes.len() == dims.len() && Dims::fixed(&sizes).count().is_some();
    fits.then(|| (sizes, Data::Missing(reason.to_string().into())))
}

/// `Cast`: floats to integers are rounded to zero.
fn cast<'a>(call: &Call<'a>) -> Option<(Vec<usize>, Data<'a>)> {
    const BOOL: i64 = 9;
    let constant = constant_at(call, 0)?;
    let to = call.place().int("to", 1);
    let data = match (constant.is_integer(), is_float(to)) {
        (false, true) => return Some((constant.dims.clone(), constant.data.clone())),
        (true, false) => {
            let ints = constant.ints()?;
            if to == BOOL {
                let flags = ints
                    .iter()
                    .map(|int| Some((int.compare(0.into())? != 0).into()));
                Data::Ints(flags.collect::<Option<Rc<[Affine]>>>()?)
            } else {
                Data::Ints(ints)
            }
        }
        (true, true) => {
            let floats = constant.ints()?;
            let floats = floats.iter().map(|int| Some(int.known()? as f32));
            Data::Floats(floats.collect::<Option<_>>()?)
        }
        (false, false) => {
            let floats = constant.floats(&mut Budget::of(1 << 16)).ok()?;
            let ints = floats
                .iter()
                .map(|&float| Affine::from(float.trunc() as i64));
            Data::Ints(ints.collect())
        }
    };
    Some((constant.dims.clone(), data))
}

/// Operators of integers that graphs of floats do not need.
fn integers<'a>(call: &Call<'a>, budgets: &mut Budgets) -> Option<(Vec<usize>, Data<'a>)> {
    let operator = call.node.op_type.as_str();
    let truth = |holds: fn(i64) -> bool| {
        move |a: Affine, b: Affine| Some(Affine::from(holds(a.compare(b)?)))
    };
    match operator {
        "Mod" => paired(call, budgets, Affine::modulo),
        "Equal" => paired(call, budgets, truth(|sign| sign == 0)),
        "Greater" => paired(call, budgets, truth(|sign| sign > 0)),
        "GreaterOrEqual" => paired(call, budgets, truth(|sign| sign >= 0)),
        "Less" => paired(call, budgets, truth(|sign| sign < 0)),
        "LessOrEqual" => paired(call, budgets, truth(|sign| sign <= 0)),
        "And" => paired(call, budgets, |a, b| {
            Some((a.known()? != 0 && b.known()? != 0).into())
        }),
        "Or" => paired(call, budgets, |a, b| {
            Some((a.known()? != 0 || b.known()? != 0).into())
        }),
        "Add" => paired(call, budgets, Affine::add),
        "Sub" => paired(call, budgets, Affine::sub),
        "Mul" => paired(call, budgets, Affine::mul),
        "Div" => paired(call, budgets, Affine::div),
        "Max" => paired(call, budgets, |a, b| {
            Some(if a.compare(b)? < 0 { b } else { a })
        }),
        "Min" => paired(call, budgets, |a, b| {
            Some(if a.compare(b)? > 0 { b } else { a })
        }),
        "Not" => each(call, |a| Some((a.known()? == 0).into())),
        "Neg" => each(call, Affine::negated),
        "Abs" => each(call, |a| {
            if a.compare(0.into())? < 0 {
                a.negated()
            } else {
                Some(a)
            }
        }),
        "Range" => range(call, budgets),
        "Where" => chosen(call, budgets),
        "ReduceProd" => product(call),
        _ => None,
    }
}

fn each<'a>(
    call: &Call<'a>,
    of: impl Fn(Affine) -> Option<Affine>,
) -> Option<(Vec<usize>, Data<'a>)> {
    let constant = constant_at(call, 0).filter(|constant| constant.is_integer())?;
    let ints = constant.ints()?;
    let ints: Option<Rc<[Affine]>> = ints.iter().map(|&int| of(int)).collect();
    Some((constant.dims.clone(), Data::Ints(ints?)))
}

fn paired<'a>(
    call: &Call<'a>,
    budgets: &mut Budgets,
    combine: impl Fn(Affine, Affine) -> Option<Affine>,
) -> Option<(Vec<usize>, Data<'a>)> {
    let (left, right) = (constant_at(call, 0)?, constant_at(call, 1)?);
    if call.count() != 2 || !left.is_integer() || !right.is_integer() {
        return None;
    }
    let dims = together(&[left, right], budgets)?;
    let (a, b) = (left.ints()?, right.ints()?);
    let ints = fold::combined([(&left.dims, &*a), (&right.dims, &*b)], &dims, combine)?;
    Some((dims, Data::Ints(ints.into())))
}

/// The shape to which constants are broadcast, if so many integers may be computed.
fn together(constants: &[&Constant<'_>], budgets: &mut Budgets) -> Option<Vec<usize>> {
    let mut dims = Dims::default();
    for constant in constants {
        let expand = Op::Expand {
            dims: dims.sizes().to_vec(),
        };
        dims = expand.output(&[&Dims::fixed(&constant.dims)]).ok()?;
    }
    let sizes = dims.of(1)?;
    budgets.ints.take(sizes.iter().product()).then_some(sizes)
}

fn range<'a>(call: &Call<'a>, budgets: &mut Budgets) -> Option<(Vec<usize>, Data<'a>)> {
    let known = |index| {
        let constant = constant_at(call, index).filter(|constant| constant.is_integer())?;
        constant.ints()?.first()?.known()
    };
    let (start, limit, step) = (known(0)?, known(1)?, known(2)?);
    let distance = limit.checked_sub(start)?;
    let whole = distance.checked_div(step)?;
    let count = whole.checked_add(i64::from(distance.checked_rem(step)? != 0))?;
    let count = usize::try_from(count.max(0)).ok()?;
    if !budgets.ints.take(count) {
        return None;
    }
    let ints = (0..count as i64).map(|at| Some(start.checked_add(at.checked_mul(step)?)?.into()));
    Some((vec![count], Data::Ints(ints.collect::<Option<_>>()?)))
}

fn chosen<'a>(call: &Call<'a>, budgets: &mut Budgets) -> Option<(Vec<usize>, Data<'a>)> {
    let (flags, left, right) = (
        constant_at(call, 0)?,
        constant_at(call, 1)?,
        constant_at(call, 2)?,
    );
    if !left.is_integer() || !right.is_integer() {
        return None;
    }
    let dims = together(&[flags, left, right], budgets)?;
    let (which, a, b) = (flags.ints()?, left.ints()?, right.ints()?);
    let both = fold::combined([(&left.dims, &*a), (&right.dims, &*b)], &dims, |a, b| {
        Some((a, b))
    })?;
    let pairs: Vec<(Affine, Affine)> = which.iter().map(|&flag| (flag, flag)).collect();
    let ints = fold::combined(
        [(&flags.dims, &pairs), (&dims, &both)],
        &dims,
        |flag, pair| Some(if flag.0.known()? == 0 { pair.1 } else { pair.0 }),
    )?;
    Some((dims, Data::Ints(ints.into())))
}

/// Comparisons of floats, and choices between them: masks of attention.
fn masks<'a>(call: &Call<'a>, budgets: &mut Budgets) -> Option<(Vec<usize>, Data<'a>)> {
    let holds: fn(f32, f32) -> bool = match call.node.op_type.as_str() {
        "Equal" => |a, b| a == b,
        "Greater" => |a, b| a > b,
        "Less" => |a, b| a < b,
        "Where" => return chosen_floats(call, budgets),
        _ => return None,
    };
    let (left, right) = (constant_at(call, 0)?, constant_at(call, 1)?);
    let dims = together(&[left, right], budgets)?;
    let (a, b) = (
        left.floats(&mut budgets.floats).ok()?,
        right.floats(&mut budgets.floats).ok()?,
    );
    let truth = |a, b| Some(Affine::from(holds(a, b)));
    let ints = fold::combined([(&left.dims, &*a), (&right.dims, &*b)], &dims, truth)?;
    Some((dims, Data::Ints(ints.into())))
}

fn chosen_floats<'a>(call: &Call<'a>, budgets: &mut Budgets) -> Option<(Vec<usize>, Data<'a>)> {
    let (flags, left, right) = (
        constant_at(call, 0)?,
        constant_at(call, 1)?,
        constant_at(call, 2)?,
    );
    let dims = together(&[flags, left, right], budgets)?;
    let (a, b) = (
        left.floats(&mut budgets.floats).ok()?,
        right.floats(&mut budgets.floats).ok()?,
    );
    let which = flags.ints()?;
    let which: Option<Vec<(f32, f32)>> = which
        .iter()
        .map(|flag| {
            Some(if flag.known()? == 0 {
                (0.0, 1.0)
            } else {
                (1.0, 0.0)
            })
        })
        .collect();
    let both = fold::combined([(&left.dims, &*a), (&right.dims, &*b)], &dims, |a, b| {
        Some((a, b))
    })?;
    let pick = |(first, _), (a, b)| Some(if first == 1.0 { (a, a) } else { (b, b) });
    let floats = fold::combined([(&flags.dims, &which?), (&dims, &both)], &dims, pick)?;
    let floats = floats.into_iter().map(|(float, _)| float).collect();
    Some((dims, Data::Floats(floats)))
}

/// `ScatterND`: floats with some entries replaced.
fn scattered<'a>(call: &Call<'a>, budgets: &mut Budgets) -> Option<(Vec<usize>, Data<'a>)> {
    let (data, places, updates) = (
        constant_at(call, 0)?,
        constant_at(call, 1)?,
        constant_at(call, 2)?,
    );
    if call.place().string("reduction", "none") != "none" {
        return None;
    }
    let (&depth, outer) = places.dims.split_last()?;
    let (index_dims, inner_dims) = data.dims.split_at_checked(depth)?;
    let inner: usize = inner_dims.iter().product();
    if !budgets.floats.take(data.len()) || updates.dims != [outer, inner_dims].concat() {
        return None;
    }
    let mut floats = data.floats(&mut budgets.floats).ok()?.to_vec();
    let updates = updates.floats(&mut budgets.floats).ok()?;
    let indices = places.ints()?;
    for (place, update) in indices
        .chunks_exact(depth.max(1))
        .zip(updates.chunks_exact(inner.max(1)))
    {
        let mut at = 0;
        for (index, &size) in place.iter().zip(index_dims) {
            let index = index.known()?;
            let index = if index < 0 {
                index.saturating_add(size as i64)
            } else {
                index
            };
            let index = usize::try_from(index).ok().filter(|&index| index < size)?;
            at = at * size + index;
        }
        floats
            .get_mut(at * inner..(at + 1) * inner)?
            .copy_from_slice(update);
    }
    Some((data.dims.clone(), Data::Floats(floats.into())))
}

/// The product of all integers of a list.
fn product<'a>(call: &Call<'a>) -> Option<(Vec<usize>, Data<'a>)> {
    let constant = constant_at(call, 0).filter(|constant| constant.dims.len() == 1)?;
    let ints = constant.ints()?;
    let product = ints
        .iter()
        .try_fold(Affine::from(1), |product, &int| product.mul(int))?;
    let dims = vec![1; usize::from(call.place().int("keepdims", 1) != 0)];
    Some((dims, Data::Ints(vec![product].into())))
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
    let found = match (op, pairs.as_slice()) {
        (Op::Binary(binary), [left, right]) => {
            let apply: fn(Binary, f32, f32) -> f32 = fold::binary;
            fold::combined([*left, *right], dims, |a, b| Some(apply(*binary, a, b)))
        }
        (Op::Unary(unary), [(_, values)]) => {
            fold::unary(unary).map(|of| values.iter().copied().map(of).collect())
        }
        _ => fold::moved(op, &pairs, dims),
    };
    found
        .map(|found| Data::Floats(found.into()))
        .ok_or_else(beyond)
}
