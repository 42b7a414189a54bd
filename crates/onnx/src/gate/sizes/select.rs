//! Operators that take a part of their elements.

use super::call::{Call, axis};
use super::value::{Dim, Value};

pub fn split(call: &Call<'_>) -> Option<Vec<Value>> {
    let value = call.input(0)?;
    let dims = value.dims.as_deref()?;
    let at = call.axis("axis", 0, dims.len())?;
    let count = call.node.output.len();
    let sizes: Vec<Dim> = match call.ints_of("split", 1) {
        Some(sizes) => sizes.iter().map(|&size| u64::try_from(size).ok()).collect(),
        None if call.input(1).is_some() => vec![None; count],
        None => {
            let each = dims[at].map(|size| size.div_ceil(count.max(1) as u64));
            vec![each; count]
        }
    };
    let mut from: usize = 0;
    let pieces = sizes.into_iter().map(|size| {
        let mut made = dims.to_vec();
        made[at] = size;
        let mut piece = Value::new(value.data_type, Some(made));
        if let (Some(numbers), [_], Some(size)) = (&value.numbers, dims, size) {
            let end = from.saturating_add(size as usize).min(numbers.len());
            let part = numbers[from.min(end)..end].to_vec();
            piece = Value::of_numbers(value.data_type, vec![Some(part.len() as u64)], part);
            from = end;
        }
        piece
    });
    Some(pieces.collect())
}

pub fn slice(call: &Call<'_>) -> Option<Value> {
    let value = call.input(0)?;
    let dims = value.dims.as_deref()?;
    let unknown = || Some(Value::new(value.data_type, Some(vec![None; dims.len()])));
    let (Some(starts), Some(ends)) = (call.ints_of("starts", 1), call.ints_of("ends", 2)) else {
        return unknown();
    };
    let given = |name, index: usize, default: Vec<i64>| match call.ints_of(name, index) {
        None if call.input(index).is_some() => None,
        found => Some(found.unwrap_or(default)),
    };
    let count = starts.len();
    let axes = given("axes", 3, (0..count as i64).collect());
    let steps = given("steps", 4, vec![1; count]);
    let (Some(axes), Some(steps)) = (axes, steps) else {
        return unknown();
    };
    if [ends.len(), axes.len(), steps.len()] != [count; 3] {
        return unknown();
    }
    let mut made = dims.to_vec();
    let mut numbers = value.numbers.clone();
    let cuts = starts.iter().zip(&ends).zip(axes.iter().zip(&steps));
    for ((&start, &end), (&at, &step)) in cuts {
        let at = axis(at, dims.len())?;
        let Some(size) = dims[at] else { continue };
        let places = Places::new(size, start, end, step)?;
        made[at] = Some(places.count);
        numbers = match (numbers, dims) {
            (Some(numbers), [_]) => places.of(&numbers),
            _ => None,
        };
    }
    let open = made
        .iter()
        .zip(dims)
        .any(|(made, dim)| made.is_none() || dim.is_none());
    let numbers = numbers.filter(|_| !open);
    Some(match numbers {
        Some(numbers) => Value::of_numbers(value.data_type, made, numbers.to_vec()),
        None => Value::new(value.data_type, Some(made)),
    })
}

/// The places of an axis that a slice takes.
struct Places {
    start: i128,
    step: i128,
    count: u64,
}

impl Places {
    fn new(size: u64, start: i64, end: i64, step: i64) -> Option<Self> {
        let (size, step) = (i128::from(size), i128::from(step));
        let place = |at: i64, low: i128, high: i128| {
            let at = i128::from(at);
            (if at < 0 { at + size } else { at }).clamp(low, high.max(low))
        };
        let (start, distance) = match step {
            0 => return None,
            1.. => {
                let start = place(start, 0, size);
                (start, place(end, 0, size) - start)
            }
            _ => {
                let start = place(start, 0, size - 1);
                (start, start - place(end, -1, size - 1))
            }
        };
        let count = (distance.max(0) + step.abs() - 1) / step.abs();
        Some(Self {
            start,
            step,
            count: u64::try_from(count).ok()?,
        })
    }

    fn of(&self, numbers: &[Option<f64>]) -> Option<std::rc::Rc<[Option<f64>]>> {
        let at = |index: u64| usize::try_from(self.start + i128::from(index) * self.step).ok();
        (0..self.count)
            .map(|index| numbers.get(at(index)?).copied())
            .collect()
    }
}

pub fn gather(call: &Call<'_>) -> Option<Value> {
    let (value, indices) = (call.input(0)?, call.input(1)?);
    let (dims, places) = (value.dims.as_deref()?, indices.dims.as_deref()?);
    let at = call.axis("axis", 0, dims.len())?;
    let made = [&dims[..at], places, &dims[at + 1..]].concat();
    let (Some(numbers), [_], Some(wanted)) = (&value.numbers, dims, &indices.numbers) else {
        return Some(Value::new(value.data_type, Some(made)));
    };
    let one = |index: Option<f64>| numbers[axis(index? as i64, numbers.len())?];
    let gathered = wanted.iter().map(|&index| one(index)).collect();
    Some(Value::of_numbers(value.data_type, made, gathered))
}

pub fn gather_nd(call: &Call<'_>) -> Option<Value> {
    let (dims, places) = (call.dims(0)?, call.dims(1)?);
    let [outer @ .., depth] = places else {
        return None;
    };
    let batch = usize::try_from(call.int("batch_dims").unwrap_or(0)).ok()?;
    let inner = dims.get(batch.checked_add(usize::try_from((*depth)?).ok()?)?..)?;
    let made = [outer, inner].concat();
    Some(Value::new(call.input(0)?.data_type, Some(made)))
}
