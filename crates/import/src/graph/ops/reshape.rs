//! The shape that a `Reshape` gives.

use kiln_model::graph::{Count, Dims, Size};

use crate::error::GraphError;
use crate::graph::affine::Affine;
use crate::graph::call::Call;

/// Returns the shape that a `Reshape` gives. 0 is the input's size of that axis unless `allowzero`
/// is set, -1 what is left. Where the file fixes its batch, the axis of the batch is found by the
/// numbers of values.
pub fn target(call: &Call<'_>) -> Result<Vec<Size>, GraphError> {
    let place = call.place();
    let input = call.shape(0)?;
    let target = call.affines(1, "shape")?;
    let target = target.ok_or_else(|| place.left_out("shape"))?;
    if target.len() > Dims::MAX_RANK {
        return place.mismatch("shape", "at most 6 axes", target.len());
    }
    let copies = place.int("allowzero", 0) == 0;
    let known: Option<Vec<i64>> = target.iter().map(|size| size.known()).collect();
    let batches = input.sizes().iter().any(|size| size.fixed().is_none());
    let found = match (call.file_batch, known) {
        (Some(batch), Some(known)) if batches => {
            with_batch(&input, &known, batch, copies).or_else(|| symbolic(&input, &target, copies))
        }
        _ => symbolic(&input, &target, copies),
    };
    match found {
        Some(dims) => Ok(dims),
        None => place.mismatch(
            "shape",
            &format!("as many values as {input}"),
            target.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ),
    }
}

impl std::fmt::Display for Affine {
    /// `-1`, `3·N`, `1+N`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.constant, self.batch) {
            (constant, 0) => write!(f, "{constant}"),
            (0, 1) => f.write_str("N"),
            (0, batch) => write!(f, "{batch}·N"),
            (constant, batch) => write!(f, "{constant}+{batch}·N"),
        }
    }
}

/// The shape where the batch is a symbol.
fn symbolic(input: &Dims, target: &[Affine], copies: bool) -> Option<Vec<Size>> {
    let mut dims = Vec::with_capacity(target.len());
    let mut open = None;
    for (axis, &size) in target.iter().enumerate() {
        dims.push(match size.known() {
            Some(0) if copies => *input.sizes().get(axis)?,
            Some(-1) if open.is_none() => {
                open = Some(axis);
                Size::Fixed(1)
            }
            _ => size.size()?,
        });
    }
    if let Some(axis) = open {
        dims[axis] = input.count()?.divided_by(Count::of(&dims)?)?;
    }
    (Count::of(&dims)? == input.count()?).then_some(dims)
}

/// The shape where the file fixes the batch and its numbers are written into the target: the axis
/// that comes after as many values as the input's batch is the one that has the batch as a factor.
/// One that has the size of the batch is preferred, and the last axis is avoided.
fn with_batch(input: &Dims, target: &[i64], batch: usize, copies: bool) -> Option<Vec<Size>> {
    let numbers = Dims::fixed(&input.of(batch)?);
    let target: Vec<Affine> = target.iter().copied().map(Affine::from).collect();
    let mut dims = symbolic(&numbers, &target, copies)?;
    let at = input
        .sizes()
        .iter()
        .position(|size| size.fixed().is_none())?;
    let before = Count::of(numbers.sizes().get(..at)?)?.factor;
    // The axis of the batch may be split: what comes before the batch in it.
    let Size::Batch(factor) = input.sizes()[at] else {
        return None;
    };
    let number = |axis: usize| dims.get(axis).and_then(|size: &Size| size.fixed());
    let divides =
        |axis: usize| number(axis).is_some_and(|size| size > 0 && size.is_multiple_of(batch));
    let within = |axis: &usize| {
        let reached = Count::of(&dims[..*axis]).map_or(0, |count| count.factor);
        let split = reached.checked_div(before).unwrap_or(0);
        divides(*axis) && split > 0 && split * before == reached && factor.is_multiple_of(split)
    };
    let places: Vec<usize> = (0..dims.len()).filter(within).collect();
    let alone = places.iter().find(|&&axis| number(axis) == Some(batch));
    let first = *places.first()?;
    let axis = match (alone, first.checked_sub(1)) {
        (Some(&axis), _) => axis,
        // The last axis has the features: tokens of all images one after another.
        (None, Some(previous)) if first + 1 == dims.len() && divides(previous) => previous,
        (None, _) => first,
    };
    dims[axis] = Size::Batch(dims[axis].fixed()? / batch);
    (Count::of(&dims)? == input.count()?).then_some(dims)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(sizes: &[i64]) -> Vec<Affine> {
        sizes.iter().copied().map(Affine::from).collect()
    }

    #[test]
    fn the_batch_is_found_by_counting() {
        let image = Dims::batched([1280, 1, 1]);
        let flat = Some(Dims::batched([1280]).sizes().to_vec());
        for target in [&[0, -1][..], &[-1, 1280], &[0, 1280]] {
            assert_eq!(symbolic(&image, &known(target), true), flat, "{target:?}");
        }
        assert_eq!(symbolic(&image, &known(&[1, 1280]), true), None);
        assert_eq!(symbolic(&image, &known(&[-1, -1]), true), None);
        assert_eq!(symbolic(&image, &known(&[0, -1]), false), None);
        for target in [&[1, -1][..], &[1, 1280], &[-1, 1280], &[0, -1]] {
            assert_eq!(with_batch(&image, target, 1, true), flat, "{target:?}");
        }
        assert_eq!(with_batch(&image, &[8, 1280], 8, true), flat);
        // Heads of torch's MultiheadAttention: the batch is the second axis.
        let tokens = Dims::from(vec![Size::Fixed(197), Size::Batch(1), Size::Fixed(768)]);
        let heads = vec![Size::Fixed(197), Size::Batch(12), Size::Fixed(64)];
        assert_eq!(with_batch(&tokens, &[197, 12, 64], 1, true), Some(heads));
        let merged = Dims::from(vec![
            Size::Fixed(197),
            Size::Batch(1),
            Size::Fixed(12),
            Size::Fixed(64),
        ]);
        let rows = vec![Size::Batch(197), Size::Fixed(768)];
        assert_eq!(
            with_batch(&merged, &[197, 768], 1, true),
            Some(rows.clone())
        );
        assert_eq!(
            with_batch(&rows.into(), &[197, 1, 768], 1, true),
            Some(tokens.sizes().to_vec())
        );
        // Windows of a Swin: the batch goes with the first of many.
        let windows = Dims::batched([8, 7, 8, 7, 96]);
        assert_eq!(
            with_batch(&windows, &[1, 8, 49, 8, 96], 1, true),
            Some(Dims::batched([8, 49, 8, 96]).sizes().to_vec())
        );
        let merged = Dims::batched([8, 8, 49, 96]);
        assert_eq!(
            with_batch(&merged, &[64, 49, 96], 1, true),
            Some(vec![Size::Batch(64), Size::Fixed(49), Size::Fixed(96)])
        );
    }
}
