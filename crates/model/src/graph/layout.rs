//! Shapes of operators that arrange values without computing any.

use super::arithmetic::{axis_of, fixed, same};
use super::error::RuleError;
use super::op::SliceAxis;
use super::size::{Count, Dims, Size};

/// Another order of axes.
pub(super) fn transpose(perm: &[usize], value: &Dims) -> Result<Dims, RuleError> {
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..value.rank()) {
        return Err(RuleError::Setting {
            expected: "perm with every axis once",
            found: format!("{perm:?} for {value}"),
        });
    }
    perm.iter().map(|&axis| axis_of(value, axis)).collect()
}

/// Another shape of as many values.
pub(super) fn reshape(dims: &[Size], value: &Dims) -> Result<Dims, RuleError> {
    let output = Dims::from(dims.to_vec());
    if output.count().is_some() && output.count() == value.count() {
        Ok(output)
    } else {
        Err(RuleError::Values {
            input: value.clone(),
            output,
        })
    }
}

/// A matrix of the axes before and from `axis`.
pub(super) fn flatten(axis: usize, value: &Dims) -> Result<Dims, RuleError> {
    let Some((rows, columns)) = value.sizes().split_at_checked(axis) else {
        return Err(RuleError::Axis {
            axis,
            dims: value.clone(),
        });
    };
    let size = |sizes: &[Size]| Count::of(sizes).and_then(Count::size);
    match (size(rows), size(columns)) {
        (Some(rows), Some(columns)) => Ok(vec![rows, columns].into()),
        _ => Err(RuleError::TooLarge(value.clone())),
    }
}

/// Without these axes, each of size 1.
pub(super) fn squeeze(axes: &[usize], value: &Dims) -> Result<Dims, RuleError> {
    for &axis in axes {
        same(
            "an axis to squeeze of size",
            Size::Fixed(1),
            axis_of(value, axis)?,
        )?;
    }
    let sizes = value.sizes().iter().copied().enumerate();
    Ok(sizes
        .filter(|(axis, _)| !axes.contains(axis))
        .map(|(_, size)| size)
        .collect())
}

/// With axes of size 1 at these places of the output, ascending.
pub(super) fn unsqueeze(axes: &[usize], value: &Dims) -> Result<Dims, RuleError> {
    let mut sizes = value.sizes().to_vec();
    for (number, &axis) in axes.iter().enumerate() {
        if axis > sizes.len() || axes[..number].contains(&axis) {
            return Err(RuleError::Setting {
                expected: "axes of the output, each once",
                found: format!("{axes:?} for {value}"),
            });
        }
        sizes.insert(axis, Size::Fixed(1));
    }
    Ok(sizes.into())
}

/// Values one after another along an axis.
pub(super) fn concat(axis: usize, inputs: &[&Dims]) -> Result<Dims, RuleError> {
    let Some((first, others)) = inputs.split_first() else {
        return Err(RuleError::Inputs {
            expected: "1 or more",
            found: 0,
        });
    };
    let mut sizes = first.sizes().to_vec();
    let mut total = fixed(first, axis)?;
    for other in others {
        if other.rank() != first.rank() {
            return Err(RuleError::Broadcast {
                left: (*first).clone(),
                right: (*other).clone(),
            });
        }
        let size = fixed(other, axis)?;
        total = total
            .checked_add(size)
            .ok_or_else(|| RuleError::TooLarge((*other).clone()))?;
        for (at, (&expected, &found)) in first.sizes().iter().zip(other.sizes()).enumerate() {
            if at != axis {
                same("axes to concatenate of size", expected, found)?;
            }
        }
    }
    sizes[axis] = Size::Fixed(total);
    Ok(sizes.into())
}

/// Parts of axes.
pub(super) fn slice(parts: &[SliceAxis], value: &Dims) -> Result<Dims, RuleError> {
    let mut sizes = value.sizes().to_vec();
    for part in parts {
        let size = fixed(value, part.axis)?;
        // The end of an empty slice may be that of the axis.
        let last = match part.length.checked_sub(1) {
            Some(steps) => steps
                .checked_mul(part.step)
                .and_then(|distance| distance.checked_add(part.start)),
            None => part.start.checked_sub(1).or(Some(0)),
        };
        if last.is_none_or(|last| last >= size.max(1)) {
            return Err(RuleError::Setting {
                expected: "a slice with entries of the axis",
                found: format!("{} from {} of {size}", part.length, part.start),
            });
        }
        sizes[part.axis] = Size::Fixed(part.length);
    }
    Ok(sizes.into())
}

/// Entries of an axis, in whose place come the axes of the indices.
pub(super) fn gather(
    axis: usize,
    indices: &[usize],
    dims: &[usize],
    value: &Dims,
) -> Result<Dims, RuleError> {
    let size = fixed(value, axis)?;
    if let Some(index) = indices.iter().find(|&&index| index >= size) {
        return Err(RuleError::Setting {
            expected: "indices of the axis",
            found: format!("{index} of {size}"),
        });
    }
    let count = dims.iter().try_fold(1_usize, |a, &b| a.checked_mul(b));
    if count != Some(indices.len()) {
        return Err(RuleError::Setting {
            expected: "as many indices as their shape has",
            found: format!("{} for {dims:?}", indices.len()),
        });
    }
    let (before, after) = value.sizes().split_at(axis);
    let between = dims.iter().map(|&size| Size::Fixed(size));
    let after = after.iter().skip(1).copied();
    Ok(before.iter().copied().chain(between).chain(after).collect())
}

/// More entries at the ends of axes.
pub(super) fn pad(pads: &[[usize; 2]], value: &Dims) -> Result<Dims, RuleError> {
    if pads.len() != value.rank() {
        return Err(RuleError::Setting {
            expected: "pads for each axis",
            found: format!("{} for {value}", pads.len()),
        });
    }
    let sizes = pads.iter().enumerate();
    sizes
        .map(|(axis, &[before, after])| match axis_of(value, axis)? {
            size if [before, after] == [0, 0] => Ok(size),
            _ => fixed(value, axis)?
                .checked_add(before)
                .and_then(|size| size.checked_add(after))
                .map(Size::Fixed)
                .ok_or_else(|| RuleError::TooLarge(value.clone())),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_move_with_their_sizes() {
        let image = Dims::batched([64, 7, 8]);
        assert_eq!(
            transpose(&[0, 2, 3, 1], &image),
            Ok(Dims::batched([7, 8, 64]))
        );
        assert!(transpose(&[0, 1, 1, 2], &image).is_err());
        assert!(transpose(&[0, 1, 2], &image).is_err());
        assert_eq!(flatten(1, &image), Ok(Dims::batched([64 * 56])));
        assert_eq!(
            flatten(0, &image),
            Ok(vec![Size::Fixed(1), Size::Batch(64 * 56)].into())
        );
        assert!(flatten(5, &image).is_err());
        let pooled = Dims::batched([64, 1, 1]);
        assert_eq!(squeeze(&[2, 3], &pooled), Ok(Dims::batched([64])));
        assert!(squeeze(&[1], &pooled).is_err());
        assert_eq!(unsqueeze(&[2, 3], &Dims::batched([64])), Ok(pooled));
        assert!(unsqueeze(&[9], &image).is_err());
        let heads = [Size::Batch(12), Size::Fixed(197), Size::Fixed(64)];
        assert_eq!(
            reshape(&heads, &Dims::batched([197, 768])),
            Ok(heads.to_vec().into())
        );
        assert!(reshape(&[Size::Fixed(197)], &Dims::batched([197])).is_err());
    }

    #[test]
    fn parts_and_wholes() {
        let tokens = Dims::batched([196, 768]);
        let class = Dims::from(vec![Size::Batch(1), Size::Fixed(1), Size::Fixed(768)]);
        let all = Dims::batched([197, 768]);
        assert_eq!(concat(1, &[&class, &tokens]), Ok(all.clone()));
        assert!(concat(1, &[&Dims::fixed(&[1, 1, 768]), &tokens]).is_err());
        assert!(concat(0, &[&tokens, &tokens]).is_err());
        assert!(concat(3, &[&tokens]).is_err());
        assert_eq!(gather(1, &[0], &[], &all), Ok(Dims::batched([768])));
        assert!(gather(1, &[197], &[], &all).is_err());
        assert!(gather(0, &[0], &[], &all).is_err());
        let part = |start, step, length| SliceAxis {
            axis: 1,
            start,
            step,
            length,
        };
        assert_eq!(slice(&[part(1, 1, 196)], &all), Ok(tokens.clone()));
        assert_eq!(slice(&[part(0, 2, 99)], &all), Ok(Dims::batched([99, 768])));
        assert!(slice(&[part(0, 2, 100)], &all).is_err());
        assert_eq!(slice(&[part(197, 1, 0)], &all), Ok(Dims::batched([0, 768])));
        assert!(slice(&[part(198, 1, 0)], &all).is_err());
        assert_eq!(pad(&[[0, 0], [0, 1], [0, 0]], &tokens), Ok(all));
        assert!(pad(&[[1, 0], [0, 1], [0, 0]], &tokens).is_err());
    }
}
