//! Operators that move, repeat, cut or make elements.

use super::call::{Call, axis};
use super::numbers::broadcast_dims;
use super::select::{gather, gather_nd, slice, split};
use super::value::{Dim, MAX_NUMBERS, Value, elements};
use super::window::sizes_of;
use crate::proto::DataType;

/// The outputs of such an operator; none of others, and where nothing is known.
pub fn outputs(operator: &str, call: &Call<'_>) -> Option<Vec<Value>> {
    let value = match operator {
        "Shape" => Some(shape(call)),
        "Size" => {
            let count = call.dims(0).and_then(elements).map(|count| count as f64);
            Some(Value::of_numbers(
                Some(DataType::Int64),
                vec![],
                vec![count],
            ))
        }
        "Reshape" => reshape(call),
        "Flatten" => flatten(call),
        "Squeeze" => squeeze(call),
        "Unsqueeze" => unsqueeze(call),
        "Transpose" => transpose(call),
        "Expand" => expand(call),
        "Tile" => tile(call),
        "Concat" => concat(call),
        "Split" => return split(call),
        "Slice" => slice(call),
        "Gather" => gather(call),
        "GatherElements" => Some(call.input(1)?.shaped_like(call.input(0)?.data_type)),
        "GatherND" => gather_nd(call),
        "Pad" => pad(call),
        "OneHot" => one_hot(call),
        "ConstantOfShape" => filled(call),
        "EyeLike" | "RandomNormalLike" | "RandomUniformLike" => {
            let data_type = call.type_of("dtype").or(call.input(0)?.data_type);
            Some(Value::new(data_type, call.input(0)?.dims.clone()))
        }
        "RandomNormal" | "RandomUniform" => {
            let sizes = call
                .ints("shape")?
                .iter()
                .map(|&size| u64::try_from(size).ok());
            let data_type = call.type_of("dtype").unwrap_or(DataType::Float);
            Some(Value::new(Some(data_type), Some(sizes.collect())))
        }
        "Multinomial" => {
            let samples = u64::try_from(call.int("sample_size").unwrap_or(1)).ok();
            let dims = vec![*call.dims(0)?.first()?, samples];
            Some(Value::new(
                call.type_of("dtype").or(Some(DataType::Int32)),
                Some(dims),
            ))
        }
        "HannWindow" | "HammingWindow" | "BlackmanWindow" => {
            let dims = vec![size_at(call, 0)];
            Some(Value::new(Some(DataType::Float), Some(dims)))
        }
        "MelWeightMatrix" => {
            let dims = vec![
                size_at(call, 1).map(|length| length / 2 + 1),
                size_at(call, 0),
            ];
            Some(Value::new(Some(DataType::Float), Some(dims)))
        }
        "DFT" => {
            let mut dims = call.dims(0)?.to_vec();
            let at = match call.input(2) {
                Some(at) => axis(at.scalar()? as i64, dims.len())?,
                None => call.axis("axis", 1, dims.len())?,
            };
            dims[at] = size_at(call, 1).or(dims[at]);
            Some(Value::new(call.input(0)?.data_type, Some(dims)))
        }
        "AffineGrid" => {
            let sizes = sizes_of(call.input(1)?)?;
            let [batch, _, spatial @ ..] = sizes.as_slice() else {
                return None;
            };
            let last = Some(spatial.len() as u64);
            let dims = [&[*batch], spatial, &[last]].concat();
            Some(Value::new(call.input(0)?.data_type, Some(dims)))
        }
        "Col2Im" => {
            let &[batch, columns, _] = call.dims(0)? else {
                return None;
            };
            let block = elements(&sizes_of(call.input(2)?)?);
            let channels = columns
                .zip(block)
                .and_then(|(columns, block)| columns.checked_div(block));
            let dims = [vec![batch, channels], sizes_of(call.input(1)?)?].concat();
            Some(Value::new(call.input(0)?.data_type, Some(dims)))
        }
        "CenterCropPad" => {
            let mut dims = call.dims(0)?.to_vec();
            let sizes = sizes_of(call.input(1)?)?;
            let axes = call.ints("axes").map(<[i64]>::to_vec);
            let axes = axes.unwrap_or_else(|| (0..dims.len() as i64).collect());
            for (at, size) in axes.into_iter().zip(sizes) {
                let at = axis(at, dims.len())?;
                dims[at] = size;
            }
            Some(Value::new(call.input(0)?.data_type, Some(dims)))
        }
        "Compress" => {
            let dims = match call.int("axis") {
                None => vec![None],
                Some(at) => {
                    let mut dims = call.dims(0)?.to_vec();
                    let at = axis(at, dims.len())?;
                    dims[at] = None;
                    dims
                }
            };
            Some(Value::new(call.input(0)?.data_type, Some(dims)))
        }
        "NonMaxSuppression" => Some(Value::new(Some(DataType::Int64), Some(vec![None, Some(3)]))),
        "DepthToSpace" | "SpaceToDepth" => blocks(operator, call),
        "TopK" => return top_k(call),
        _ => None,
    };
    value.map(|value| vec![value])
}

/// A list of numbers as sizes; where only their number is known, as many open ones.
fn listed(value: &Value) -> Option<Vec<Dim>> {
    sizes_of(value).or_else(|| match value.dims.as_deref() {
        Some([Some(count)]) if *count < 64 => Some(vec![None; *count as usize]),
        _ => None,
    })
}

fn size_at(call: &Call<'_>, index: usize) -> Dim {
    let number = call.input(index)?.scalar()?;
    (number >= 0.0).then_some(number as u64)
}

/// The same elements in another shape.
fn reshaped(value: &Value, dims: Option<Vec<Dim>>) -> Value {
    let numbers = match &dims {
        Some(dims) => value
            .numbers
            .clone()
            .filter(|it| elements(dims) == Some(it.len() as u64)),
        None => None,
    };
    Value {
        data_type: value.data_type,
        dims,
        numbers,
    }
}

fn shape(call: &Call<'_>) -> Value {
    let Some(dims) = call.dims(0) else {
        return Value::new(Some(DataType::Int64), Some(vec![None]));
    };
    let rank = dims.len() as i64;
    let place = |at: i64| {
        let at = if at < 0 { at.saturating_add(rank) } else { at };
        at.clamp(0, rank) as usize
    };
    let start = place(call.int("start").unwrap_or(0));
    let end = place(call.int("end").unwrap_or(i64::MAX)).max(start);
    let sizes = dims[start..end].iter();
    let sizes = sizes.map(|dim| dim.map(|size| size as f64));
    Value::list(DataType::Int64, sizes.collect())
}

fn reshape(call: &Call<'_>) -> Option<Value> {
    let value = call.input(0)?;
    let target: Vec<Option<f64>> = match call.ints("shape") {
        Some(sizes) => sizes.iter().map(|&size| Some(size as f64)).collect(),
        None => match (&call.input(1)?.numbers, call.dims(1)) {
            (Some(numbers), _) => numbers.to_vec(),
            (None, Some([Some(rank)])) if *rank < 64 => vec![None; *rank as usize],
            (None, _) => return Some(Value::new(value.data_type, None)),
        },
    };
    let copies_zeros = !call.flag("allowzero", false);
    let own = |at: usize| {
        value
            .dims
            .as_ref()
            .and_then(|dims| dims.get(at).copied().flatten())
    };
    let mut dims: Vec<Dim> = Vec::with_capacity(target.len());
    let mut open = Vec::new();
    for (at, size) in target.iter().enumerate() {
        dims.push(match size {
            None => None,
            Some(size) if *size < 0.0 => {
                open.push(at);
                Some(1)
            }
            Some(size) if *size < 1.0 && copies_zeros => own(at),
            Some(size) => Some(*size as u64),
        });
    }
    for &at in &open {
        let whole = value.dims.as_deref().and_then(elements);
        let size = whole
            .zip(elements(&dims))
            .and_then(|(whole, rest)| whole.checked_div(rest));
        dims[at] = size.filter(|_| open.len() == 1);
    }
    Some(reshaped(value, Some(dims)))
}

fn flatten(call: &Call<'_>) -> Option<Value> {
    let value = call.input(0)?;
    let dims = value.dims.as_deref()?;
    let at = call.int("axis").unwrap_or(1);
    let at = if at == dims.len() as i64 {
        dims.len()
    } else {
        axis(at, dims.len())?
    };
    let made = vec![elements(&dims[..at]), elements(&dims[at..])];
    Some(reshaped(value, Some(made)))
}

fn squeeze(call: &Call<'_>) -> Option<Value> {
    let value = call.input(0)?;
    let dims = value.dims.as_deref()?;
    let axes = call.ints_of("axes", 1);
    let left: Vec<Dim> = match axes {
        None if call.input(1).is_some() || dims.contains(&None) => {
            return Some(Value::new(value.data_type, None));
        }
        None => dims.iter().copied().filter(|&dim| dim != Some(1)).collect(),
        Some(axes) => {
            let axes: Option<Vec<usize>> = axes.iter().map(|&it| axis(it, dims.len())).collect();
            let axes = axes?;
            let left = dims.iter().enumerate().filter(|(at, _)| !axes.contains(at));
            left.map(|(_, &dim)| dim).collect()
        }
    };
    Some(reshaped(value, Some(left)))
}

fn unsqueeze(call: &Call<'_>) -> Option<Value> {
    let value = call.input(0)?;
    let axes = call.ints_of("axes", 1)?;
    let dims = value.dims.as_deref()?;
    let rank = dims.len() + axes.len();
    let axes: Option<Vec<usize>> = axes.iter().map(|&it| axis(it, rank)).collect();
    let axes = axes?;
    let mut own = dims.iter().copied();
    let made = (0..rank).map(|at| {
        if axes.contains(&at) {
            Some(1)
        } else {
            own.next().flatten()
        }
    });
    Some(reshaped(value, Some(made.collect())))
}

fn transpose(call: &Call<'_>) -> Option<Value> {
    let value = call.input(0)?;
    let dims = value.dims.as_deref()?;
    let order: Vec<usize> = match call.ints("perm") {
        None => (0..dims.len()).rev().collect(),
        Some(order) => order
            .iter()
            .map(|&it| axis(it, dims.len()))
            .collect::<Option<_>>()?,
    };
    let made = order.iter().map(|&at| dims[at]).collect();
    let mut transposed = Value::new(value.data_type, Some(made));
    if dims.len() < 2 {
        transposed.numbers.clone_from(&value.numbers);
    }
    Some(transposed)
}

fn expand(call: &Call<'_>) -> Option<Value> {
    let value = call.input(0)?;
    let target = listed(call.input(1)?)?;
    let dims = broadcast_dims([value.dims.as_deref()?, &target])?;
    let same = value
        .scalar()
        .filter(|_| elements(&dims).is_some_and(|count| count <= MAX_NUMBERS));
    Some(match same {
        Some(number) => {
            let count = elements(&dims).unwrap_or(0) as usize;
            Value::of_numbers(value.data_type, dims, vec![Some(number); count])
        }
        None => reshaped(value, Some(dims)),
    })
}

fn tile(call: &Call<'_>) -> Option<Value> {
    let value = call.input(0)?;
    let dims = value.dims.as_deref()?;
    if call.input(2).is_some() {
        // The first operator set: a count and an axis.
        let (count, at) = (
            size_at(call, 1),
            axis(call.input(2)?.scalar()? as i64, dims.len())?,
        );
        let mut made = dims.to_vec();
        made[at] = times(dims[at], count);
        return Some(Value::new(value.data_type, Some(made)));
    }
    let counts = listed(call.input(1)?)?;
    let pairs = dims.iter().zip(counts);
    let made = pairs.map(|(&dim, count)| times(dim, count)).collect();
    Some(reshaped(value, Some(made)))
}

/// Saturates: what is beyond 64 bits is beyond every budget.
fn times(size: Dim, count: Dim) -> Dim {
    Some(size?.saturating_mul(count?))
}

fn concat(call: &Call<'_>) -> Option<Value> {
    let values: Option<Vec<&Value>> = call.inputs.iter().map(Option::as_ref).collect();
    let values = values?;
    let first = values.first()?;
    let rank = first.rank()?;
    let at = call.axis("axis", 1, rank)?;
    let mut made = first.dims.clone()?;
    for value in &values[1..] {
        let dims = value.dims.as_deref().filter(|dims| dims.len() == rank)?;
        for (axis, (made, &dim)) in made.iter_mut().zip(dims).enumerate() {
            *made = if axis == at {
                made.zip(dim).map(|(a, b)| a.saturating_add(b))
            } else {
                made.or(dim)
            };
        }
    }
    let few = made
        .first()
        .copied()
        .flatten()
        .is_some_and(|count| count <= MAX_NUMBERS);
    if rank != 1 || !few {
        return Some(Value::new(first.data_type, Some(made)));
    }
    let numbers = values
        .iter()
        .flat_map(|value| match (&value.numbers, &value.dims) {
            (Some(numbers), _) => numbers.to_vec(),
            (None, Some(dims)) => vec![None; dims[0].unwrap_or(0) as usize],
            (None, None) => Vec::new(),
        });
    let numbers = numbers.collect();
    Some(Value::of_numbers(first.data_type, made, numbers))
}

fn pad(call: &Call<'_>) -> Option<Value> {
    let value = call.input(0)?;
    let dims = value.dims.as_deref()?;
    let pads: Vec<Option<f64>> = match call.ints("pads").or_else(|| call.ints("paddings")) {
        Some(pads) => pads.iter().map(|&pad| Some(pad as f64)).collect(),
        None => match call.input(1)?.numbers.as_deref() {
            Some(numbers) => numbers.to_vec(),
            None => return Some(Value::new(value.data_type, Some(vec![None; dims.len()]))),
        },
    };
    let axes: Vec<usize> = match call.input(3) {
        None => (0..dims.len()).collect(),
        Some(axes) => axes
            .ints()?
            .iter()
            .map(|&it| axis(it, dims.len()))
            .collect::<Option<_>>()?,
    };
    if pads.len() != 2 * axes.len() {
        return None;
    }
    let mut made = dims.to_vec();
    for (index, &at) in axes.iter().enumerate() {
        made[at] = dims[at].and_then(|size| {
            let padded = size as f64 + pads[index]? + pads[index + axes.len()]?;
            (padded >= 0.0).then_some(padded as u64)
        });
    }
    Some(Value::new(value.data_type, Some(made)))
}

fn one_hot(call: &Call<'_>) -> Option<Value> {
    let dims = call.dims(0)?;
    let depth = size_at(call, 1);
    let at = call.axis("axis", -1, dims.len() + 1)?;
    let mut made = dims.to_vec();
    made.insert(at, depth);
    Some(Value::new(
        call.input(2).and_then(|it| it.data_type),
        Some(made),
    ))
}

fn filled(call: &Call<'_>) -> Option<Value> {
    let dims = listed(call.input(0)?)?;
    let element = call.tensor("value").map(Value::of_tensor);
    let (data_type, number) = match &element {
        None => (Some(DataType::Float), Some(0.0)),
        Some(element) => (element.data_type, element.scalar()),
    };
    let few = elements(&dims).filter(|&count| count <= MAX_NUMBERS);
    Some(match few {
        Some(count) => Value::of_numbers(data_type, dims, vec![number; count as usize]),
        None => Value::new(data_type, Some(dims)),
    })
}

fn blocks(operator: &str, call: &Call<'_>) -> Option<Value> {
    let &[batch, channels, height, width] = call.dims(0)? else {
        return None;
    };
    let block = u64::try_from(call.int("blocksize")?)
        .ok()
        .filter(|&block| block > 0);
    let area = block?.checked_mul(block?);
    let less = |size: Dim, by: Dim| size?.checked_div(by?);
    let dims = if operator == "DepthToSpace" {
        vec![
            batch,
            less(channels, area),
            times(height, block),
            times(width, block),
        ]
    } else {
        vec![
            batch,
            times(channels, area),
            less(height, block),
            less(width, block),
        ]
    };
    Some(Value::new(call.input(0)?.data_type, Some(dims)))
}

fn top_k(call: &Call<'_>) -> Option<Vec<Value>> {
    let value = call.input(0)?;
    let mut dims = value.dims.clone()?;
    let at = call.axis("axis", -1, dims.len())?;
    let count = call
        .int("k")
        .map(|k| k as f64)
        .or_else(|| call.input(1)?.scalar());
    dims[at] = count
        .filter(|&count| count >= 0.0)
        .map(|count| count as u64);
    Some(vec![
        Value::new(value.data_type, Some(dims.clone())),
        Value::new(Some(DataType::Int64), Some(dims)),
    ])
}
