//! Operators that give constants and have no place in a graph of floats.

use std::rc::Rc;

use kiln_model::graph::Dims;
use kiln_onnx::{AttributeProto, NodeProto};

use super::affine::Affine;
use super::call::Call;
use super::constant::{Budget, Budgets, Constant, Data, is_float};
use crate::error::GraphError;

/// What becomes of a node whose inputs do not depend on the image.
#[derive(Debug)]
pub enum Computed<'a> {
    /// A constant.
    Constant(Constant<'a>),
    /// A constant that is repeated for every image of the batch, to this shape.
    Repeated(Constant<'a>, Dims),
}

/// The value of a `Constant` node.
pub fn constant_node(node: &NodeProto) -> Option<Constant<'_>> {
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
pub fn filled<'a>(call: &Call<'a>, budgets: &mut Budgets) -> Option<Computed<'a>> {
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
    if let Some(tensor) = value.filter(|tensor| !tensor.is_float()) {
        let dims = fixed?;
        let count = dims.iter().product();
        let int = *tensor.to_ints()?.first()?;
        let data = budgets
            .ints
            .take(count)
            .then(|| Data::Ints(vec![int.into(); count].into()))?;
        return Some(Computed::Constant(Constant { name, dims, data }));
    }
    let value = match value {
        Some(tensor) => *tensor.to_floats().ok()?.first()?,
        None => 0.0,
    };
    let data = Data::Fill(value);
    Some(if let Some(dims) = fixed {
        Computed::Constant(Constant { name, dims, data })
    } else {
        let dims = vec![1; shape.len()];
        Computed::Repeated(Constant { name, dims, data }, sizes)
    })
}

/// `Resize` of a constant, such as a table of positions: only the shape is known.
pub fn resized<'a>(call: &Call<'a>) -> Option<(Vec<usize>, Data<'a>)> {
    let dims = &call.constant_at(0)?.dims;
    let sizes = if let Ok(Some(sizes)) = call.ints(3, "sizes") {
        crate::attributes::sizes_of(&sizes)?
    } else {
        let index = if call.node.op_type == "Upsample" {
            1
        } else {
            2
        };
        let scales = call.constant_at(index)?;
        let scales = scales.floats(&mut Budget::of(Dims::MAX_RANK)).ok()?;
        let axes = dims.iter().zip(scales.iter());
        axes.map(|(&size, &scale)| (size as f32 * scale).floor() as usize)
            .collect()
    };
    let reason = GraphError::Resized {
        node: call.node.describe(),
    };
    let fits = sizes.len() == dims.len() && Dims::fixed(&sizes).count().is_some();
    fits.then(|| (sizes, Data::Missing(reason.to_string().into())))
}

/// `Cast`: floats to integers are rounded to zero.
pub fn cast<'a>(call: &Call<'a>) -> Option<(Vec<usize>, Data<'a>)> {
    const BOOL: i64 = 9;
    let constant = call.constant_at(0)?;
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

/// `ScatterND`: floats with some entries replaced.
pub fn scattered<'a>(call: &Call<'a>, budgets: &mut Budgets) -> Option<(Vec<usize>, Data<'a>)> {
    let (data, places, updates) = (
        call.constant_at(0)?,
        call.constant_at(1)?,
        call.constant_at(2)?,
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
