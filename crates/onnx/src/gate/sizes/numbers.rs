//! Arithmetic of the small values that shapes are computed in, and the shapes of operators that broadcast
//! or reduce.

use super::call::{Call, axis};
use super::value::{Dim, MAX_NUMBERS, Value, elements};
use crate::proto::DataType;

/// The shape that values are broadcast to; none where they do not fit.
pub fn broadcast_dims<'d>(shapes: impl IntoIterator<Item = &'d [Dim]>) -> Option<Vec<Dim>> {
    let mut joined: Vec<Dim> = Vec::new();
    for shape in shapes {
        if shape.len() > joined.len() {
            let more = shape.len() - joined.len();
            joined.splice(0..0, std::iter::repeat_n(Some(1), more));
        }
        let offset = joined.len() - shape.len();
        for (joined, &dim) in joined[offset..].iter_mut().zip(shape) {
            *joined = match (*joined, dim) {
                (Some(1), dim) | (dim, Some(1)) => dim,
                (Some(a), Some(b)) if a != b => return None,
                (Some(size), _) | (None, Some(size)) => Some(size),
                (None, None) => None,
            };
        }
    }
    Some(joined)
}

/// Where the element of a broadcast value at a row-major index is in one of the values.
fn source(index: u64, whole: &[Dim], part: &[Dim]) -> usize {
    let offset = whole.len() - part.len();
    let (mut rest, mut at, mut stride) = (index, 0, 1);
    for axis in (0..whole.len()).rev() {
        let size = whole[axis].unwrap_or(1).max(1);
        let position = rest % size;
        rest /= size;
        if axis >= offset {
            let own = part[axis - offset].unwrap_or(1);
            if own != 1 {
                at += position * stride;
            }
            stride *= own;
        }
    }
    at as usize
}

/// Elements of all inputs, broadcast, one row for each element; none where any is not known at all or
/// there are many.
fn rows(values: &[&Value], dims: &[Dim]) -> Option<Vec<Vec<Option<f64>>>> {
    let count = elements(dims).filter(|&count| count <= MAX_NUMBERS)?;
    let parts: Option<Vec<_>> = values
        .iter()
        .map(|value| Some((value.dims.as_deref()?, value.numbers.as_deref()?)))
        .collect();
    let parts = parts?;
    let row = |index| {
        let numbers = parts.iter();
        numbers
            .map(|(own, numbers)| numbers.get(source(index, dims, own)).copied().flatten())
            .collect()
    };
    Some((0..count).map(row).collect())
}

pub fn unary(operator: &str, call: &Call<'_>) -> Option<Value> {
    let value = call.input(0)?;
    let of: fn(f64) -> f64 = match operator {
        "Abs" => f64::abs,
        "Neg" => |it| -it,
        "Floor" => f64::floor,
        "Ceil" => f64::ceil,
        "Round" => f64::round_ties_even,
        "Sqrt" => f64::sqrt,
        "Not" => |it| f64::from(u8::from(it == 0.0)),
        "Sign" => |it| if it == 0.0 { 0.0 } else { it.signum() },
        _ => |it| 1.0 / it,
    };
    let Some(numbers) = &value.numbers else {
        return Some(value.clone());
    };
    let numbers = numbers.iter().map(|number| number.map(of)).collect();
    Some(Value::of_numbers(
        value.data_type,
        value.dims.clone()?,
        numbers,
    ))
}

pub fn broadcast(operator: &str, call: &Call<'_>) -> Option<Value> {
    let values: Option<Vec<&Value>> = call.inputs.iter().map(Option::as_ref).collect();
    let values = values?;
    let first = *values.first()?;
    let compares = matches!(
        operator,
        "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "And" | "Or" | "Xor"
    );
    let data_type = if compares {
        Some(DataType::Bool)
    } else {
        first.data_type
    };
    let shapes: Option<Vec<&[Dim]>> = values.iter().map(|value| value.dims.as_deref()).collect();
    let dims = broadcast_dims(shapes?)?;
    let is_int = !first.is_float();
    let count = values.len() as f64;
    let combine = |row: Vec<Option<f64>>| -> Option<f64> {
        let combined = row
            .into_iter()
            .reduce(|a, b| pair(operator, is_int, a?, b?))??;
        Some(if operator == "Mean" {
            combined / count
        } else {
            combined
        })
    };
    match rows(&values, &dims) {
        Some(rows) => {
            let numbers = rows.into_iter().map(combine).collect();
            Some(Value::of_numbers(data_type, dims, numbers))
        }
        None => Some(Value::new(data_type, Some(dims))),
    }
}

#[expect(clippy::float_cmp, reason = "the comparison is the operator")]
fn pair(operator: &str, is_int: bool, a: f64, b: f64) -> Option<f64> {
    let truth = |holds: bool| Some(f64::from(u8::from(holds)));
    match operator {
        "Add" | "Sum" | "Mean" => Some(a + b),
        "Sub" => Some(a - b),
        "Mul" => Some(a * b),
        "Div" if is_int => (b != 0.0).then(|| (a / b).trunc()),
        "Div" => Some(a / b),
        "Mod" if is_int && b != 0.0 => Some(a - b * (a / b).floor()),
        "Pow" => Some(a.powf(b)),
        "Max" => Some(a.max(b)),
        "Min" => Some(a.min(b)),
        "And" => truth(a != 0.0 && b != 0.0),
        "Or" => truth(a != 0.0 || b != 0.0),
        "Xor" => truth((a != 0.0) != (b != 0.0)),
        "Equal" => truth(a == b),
        "Greater" => truth(a > b),
        "GreaterOrEqual" => truth(a >= b),
        "Less" => truth(a < b),
        "LessOrEqual" => truth(a <= b),
        _ => None,
    }
}

pub fn chosen(call: &Call<'_>) -> Option<Value> {
    let values = [call.input(0)?, call.input(1)?, call.input(2)?];
    let shapes: Option<Vec<&[Dim]>> = values.iter().map(|value| value.dims.as_deref()).collect();
    let dims = broadcast_dims(shapes?)?;
    let pick = |row: Vec<Option<f64>>| match row[0] {
        Some(flag) if flag != 0.0 => row[1],
        Some(_) => row[2],
        None => row[1].filter(|_| row[1] == row[2]),
    };
    match rows(&values, &dims) {
        Some(rows) => {
            let numbers = rows.into_iter().map(pick).collect();
            Some(Value::of_numbers(values[1].data_type, dims, numbers))
        }
        None => Some(Value::new(values[1].data_type, Some(dims))),
    }
}

pub fn range(call: &Call<'_>) -> Option<Value> {
    let known = |index: usize| call.input(index).and_then(Value::scalar);
    let data_type = call.input(0)?.data_type;
    let (Some(start), Some(limit), Some(step)) = (known(0), known(1), known(2)) else {
        return Some(Value::new(data_type, Some(vec![None])));
    };
    let count = ((limit - start) / step).ceil().max(0.0);
    if !count.is_finite() {
        return None;
    }
    let count = count as u64;
    if count > MAX_NUMBERS {
        return Some(Value::new(data_type, Some(vec![Some(count)])));
    }
    let numbers = (0..count)
        .map(|at| Some(start + at as f64 * step))
        .collect();
    Some(Value::of_numbers(data_type, vec![Some(count)], numbers))
}

pub fn reduced(operator: &str, call: &Call<'_>) -> Option<Value> {
    let value = call.input(0)?;
    let dims = value.dims.as_deref()?;
    let keeps = call.flag("keepdims", true);
    let axes = match call.ints_of("axes", 1) {
        Some(axes) => axes,
        // Axes that are not known: at least the rank may be.
        None if call
            .input(1)
            .is_some_and(|axes| axes.dims != Some(vec![Some(0)])) =>
        {
            return keeps.then(|| Value::new(value.data_type, Some(vec![None; dims.len()])));
        }
        None => Vec::new(),
    };
    let all = axes.is_empty();
    if all && call.flag("noop_with_empty_axes", false) {
        return Some(value.clone());
    }
    let axes: Option<Vec<usize>> = axes.iter().map(|&it| axis(it, dims.len())).collect();
    let axes = axes?;
    let is_reduced = |at: usize| all || axes.contains(&at);
    let left = dims.iter().enumerate().filter_map(|(at, &dim)| {
        if is_reduced(at) {
            keeps.then_some(Some(1))
        } else {
            Some(dim)
        }
    });
    let left: Vec<Dim> = left.collect();
    let whole = (0..dims.len()).all(is_reduced);
    let combined = value.floats().filter(|_| whole).and_then(|numbers| {
        let numbers = numbers.into_iter();
        Some(match operator {
            "ReduceSum" => numbers.sum(),
            "ReduceProd" => numbers.product(),
            "ReduceMax" => numbers.reduce(f64::max)?,
            "ReduceMin" => numbers.reduce(f64::min)?,
            _ => return None,
        })
    });
    Some(match combined {
        Some(number) => Value::of_numbers(value.data_type, left, vec![Some(number)]),
        None => Value::new(value.data_type, Some(left)),
    })
}
