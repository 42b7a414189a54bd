//! Shapes of operators that compute: broadcasting, products, statistics.

use super::error::RuleError;
use super::op::Gemm;
use super::size::{Dims, Size};

/// Returns the shape to which two values are broadcast: axes are paired from the last, and an axis
/// of size 1 is repeated (numpy's rule).
pub(super) fn broadcast(left: &Dims, right: &Dims) -> Result<Dims, RuleError> {
    let rank = left.rank().max(right.rank());
    let at = |dims: &Dims, axis: usize| match (axis + dims.rank()).checked_sub(rank) {
        Some(axis) => dims.sizes().get(axis).copied(),
        None => Some(Size::Fixed(1)),
    };
    let sizes: Option<Dims> = (0..rank)
        .map(|axis| match (at(left, axis)?, at(right, axis)?) {
            (Size::Fixed(1), size) | (size, Size::Fixed(1)) => Some(size),
            (a, b) if a == b => Some(a),
            _ => None,
        })
        .collect();
    sizes.ok_or_else(|| RuleError::Broadcast {
        left: left.clone(),
        right: right.clone(),
    })
}

/// Checks that `dims` broadcasts to `to`.
fn broadcasts_to(dims: &Dims, to: &Dims) -> Result<(), RuleError> {
    match broadcast(dims, to) {
        Ok(found) if found == *to => Ok(()),
        _ => Err(RuleError::Broadcast {
            left: dims.clone(),
            right: to.clone(),
        }),
    }
}

/// The shape of `A · B` over the last two axes.
pub(super) fn matmul(left: &Dims, right: &Dims) -> Result<Dims, RuleError> {
    let split = |dims: &Dims| match dims.sizes() {
        [batch @ .., rows, columns] => Ok((Dims::from(batch.to_vec()), *rows, *columns)),
        _ => Err(RuleError::Rank {
            expected: "2 or more",
            found: dims.clone(),
        }),
    };
    let (left_batch, rows, inner) = split(left)?;
    let (right_batch, found, columns) = split(right)?;
    same("an inner size of", inner, found)?;
    let batch = broadcast(&left_batch, &right_batch)?;
    Ok(batch
        .sizes()
        .iter()
        .copied()
        .chain([rows, columns])
        .collect())
}

/// The shape of `Gemm`.
pub(super) fn gemm(settings: Gemm, inputs: &[&Dims]) -> Result<Dims, RuleError> {
    let (left, right) = match inputs {
        [left, right] | [left, right, _] => (*left, *right),
        _ => {
            return Err(RuleError::Inputs {
                expected: "2 or 3",
                found: inputs.len(),
            });
        }
    };
    let matrix = |dims: &Dims, transposed: bool| match dims.sizes() {
        [rows, columns] if transposed => Ok([*columns, *rows]),
        [rows, columns] => Ok([*rows, *columns]),
        _ => Err(RuleError::Rank {
            expected: "2",
            found: dims.clone(),
        }),
    };
    let [rows, inner] = matrix(left, settings.trans_a)?;
    let [found, columns] = matrix(right, settings.trans_b)?;
    same("an inner size of", inner, found)?;
    let output = Dims::from(vec![rows, columns]);
    if let [_, _, added] = inputs {
        broadcasts_to(added, &output)?;
    }
    Ok(output)
}

/// The shape of a normalization with parameters for each channel, axis 1.
pub(super) fn per_channel(value: &Dims, parameters: &[&Dims]) -> Result<Dims, RuleError> {
    let channels = axis_of(value, 1)?;
    for parameter in parameters {
        match parameter.sizes() {
            [found] => same("as many parameters as channels,", channels, *found)?,
            _ => {
                return Err(RuleError::Rank {
                    expected: "1",
                    found: (*parameter).clone(),
                });
            }
        }
    }
    Ok(value.clone())
}

/// The shape of `LayerNormalization`.
pub(super) fn normalized(axis: usize, inputs: &[&Dims]) -> Result<Dims, RuleError> {
    let (value, parameters) = match inputs {
        [value, parameters @ ..] if matches!(parameters.len(), 1 | 2) => (*value, parameters),
        _ => {
            return Err(RuleError::Inputs {
                expected: "2 or 3",
                found: inputs.len(),
            });
        }
    };
    for axis in axis..value.rank() {
        fixed(value, axis)?;
    }
    axis_of(value, axis)?;
    for parameter in parameters {
        broadcasts_to(parameter, value)?;
    }
    Ok(value.clone())
}

/// The shape of a statistic over axes, none of which may depend on the batch.
pub(super) fn reduce(axes: &[usize], keep_dims: bool, value: &Dims) -> Result<Dims, RuleError> {
    for &axis in axes {
        fixed(value, axis)?;
    }
    let sizes = value.sizes().iter().copied().enumerate();
    Ok(sizes
        .filter_map(|(axis, size)| match (axes.contains(&axis), keep_dims) {
            (false, _) => Some(size),
            (true, true) => Some(Size::Fixed(1)),
            (true, false) => None,
        })
        .collect())
}

/// Returns the size of an axis.
pub(super) fn axis_of(dims: &Dims, axis: usize) -> Result<Size, RuleError> {
    let missing = || RuleError::Axis {
        axis,
        dims: dims.clone(),
    };
    dims.sizes().get(axis).copied().ok_or_else(missing)
}

/// Returns the size of an axis that does not depend on the batch.
pub(super) fn fixed(dims: &Dims, axis: usize) -> Result<usize, RuleError> {
    let batch = || RuleError::Batch {
        axis,
        dims: dims.clone(),
    };
    axis_of(dims, axis)?.fixed().ok_or_else(batch)
}

/// Checks that two sizes are the same.
pub(super) fn same(what: &'static str, expected: Size, found: Size) -> Result<(), RuleError> {
    if expected == found {
        Ok(())
    } else {
        Err(RuleError::Mismatch {
            what,
            expected,
            found,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::op::{Op, Reduction};
    use super::*;

    #[test]
    fn shapes_broadcast_as_numpys() {
        let image = Dims::batched([64, 8, 8]);
        let channels = Dims::fixed(&[64, 1, 1]);
        assert_eq!(broadcast(&image, &channels), Ok(image.clone()));
        assert_eq!(broadcast(&Dims::default(), &image), Ok(image.clone()));
        assert_eq!(
            broadcast(&Dims::fixed(&[1, 64, 1, 1]), &image),
            Ok(image.clone())
        );
        assert!(broadcast(&Dims::fixed(&[2, 64, 1, 1]), &image).is_err());
        assert!(broadcast(&image, &Dims::fixed(&[3])).is_err());
    }

    #[test]
    fn products_and_statistics() {
        let tokens = Dims::batched([197, 768]);
        let weight = Dims::fixed(&[768, 10]);
        assert_eq!(
            Op::MatMul.output(&[&tokens, &weight]),
            Ok(Dims::batched([197, 10]))
        );
        assert!(Op::MatMul.output(&[&weight, &tokens]).is_err());
        let gemm = |trans_b| {
            Op::Gemm(Gemm {
                alpha: 1.0,
                beta: 1.0,
                trans_a: false,
                trans_b,
            })
        };
        let features = Dims::batched([768]);
        let bias = Dims::fixed(&[10]);
        let scores = Dims::batched([10]);
        assert_eq!(
            gemm(false).output(&[&features, &weight, &bias]),
            Ok(scores.clone())
        );
        assert_eq!(
            gemm(true).output(&[&features, &Dims::fixed(&[10, 768])]),
            Ok(scores)
        );
        assert!(gemm(true).output(&[&features, &weight]).is_err());
        assert!(gemm(false).output(&[&tokens, &weight]).is_err());
        let reduce = |axes: &[usize], keep_dims| Op::Reduce {
            reduction: Reduction::Mean,
            axes: axes.to_vec(),
            keep_dims,
        };
        let image = Dims::batched([64, 8, 8]);
        assert_eq!(
            reduce(&[2, 3], true).output(&[&image]),
            Ok(Dims::batched([64, 1, 1]))
        );
        assert_eq!(
            reduce(&[2, 3], false).output(&[&image]),
            Ok(Dims::batched([64]))
        );
        assert!(reduce(&[0], true).output(&[&image]).is_err());
        assert!(reduce(&[4], true).output(&[&image]).is_err());
    }
}
