//! Computing constants: arranging their values, and simple arithmetic.

use kiln_model::graph::{Binary, Op, Unary};

/// Arranges the values of constants as an operator does that only moves values. `inputs` are
/// shapes and values that fit it, `output` is the shape that it gives.
pub fn moved<T: Copy>(op: &Op, inputs: &[(&[usize], &[T])], output: &[usize]) -> Option<Vec<T>> {
    let [(dims, values), ..] = inputs else {
        return None;
    };
    match op {
        Op::Reshape { .. } | Op::Flatten { .. } | Op::Squeeze { .. } | Op::Unsqueeze { .. } => {
            Some(values.to_vec())
        }
        Op::Transpose { perm } => {
            let strides = strides(dims);
            let strides: Option<Vec<_>> = perm
                .iter()
                .map(|&axis| strides.get(axis).copied())
                .collect();
            strided(values, output, 0, &strides?)
        }
        Op::Expand { .. } => strided(values, output, 0, &broadcast_strides(dims, output)?),
        Op::Slice(parts) => {
            let mut strides = strides(dims);
            let mut start = 0;
            for part in parts {
                let stride = strides.get_mut(part.axis)?;
                start += part.start * *stride;
                *stride *= part.step;
            }
            strided(values, output, start, &strides)
        }
        Op::Gather { axis, indices, .. } => {
            let (outer, rest) = dims.split_at_checked(*axis)?;
            let (&size, inner) = rest.split_first()?;
            let (outer, inner): (usize, usize) = (outer.iter().product(), inner.iter().product());
            let mut gathered = Vec::with_capacity(output.iter().product());
            for block in 0..outer {
                for index in indices {
                    let from = (block * size + index) * inner;
                    gathered.extend_from_slice(values.get(from..from + inner)?);
                }
            }
            Some(gathered)
        }
        Op::Concat { axis } => {
            let outer: usize = output.get(..*axis)?.iter().product();
            let mut joined = Vec::with_capacity(output.iter().product());
            for block in 0..outer {
                for (dims, values) in inputs {
                    let inner: usize = dims.get(*axis..)?.iter().product();
                    joined.extend_from_slice(values.get(block * inner..(block + 1) * inner)?);
                }
            }
            Some(joined)
        }
        Op::Conv(_)
        | Op::BatchNormalization { .. }
        | Op::LayerNormalization { .. }
        | Op::GroupNormalization { .. }
        | Op::InstanceNormalization { .. }
        | Op::Lrn(_)
        | Op::Gemm(_)
        | Op::MatMul
        | Op::Binary(_)
        | Op::Unary(_)
        | Op::MaxPool(_)
        | Op::AveragePool(_)
        | Op::GlobalAveragePool
        | Op::GlobalMaxPool
        | Op::Reduce { .. }
        | Op::Softmax { .. }
        | Op::LogSoftmax { .. }
        | Op::Pad(_)
        | Op::Dropout { .. }
        | Op::StochasticDepth { .. }
        | Op::Other(_) => None,
    }
}

/// Combines two constants that broadcast to the shape `output`.
pub fn combined<T: Copy, R>(
    [left, right]: [(&[usize], &[T]); 2],
    output: &[usize],
    combine: impl Fn(T, T) -> Option<R>,
) -> Option<Vec<R>> {
    let spread = |(dims, values): (&[usize], &[T])| {
        strided(values, output, 0, &broadcast_strides(dims, output)?)
    };
    let (left, right) = (spread(left)?, spread(right)?);
    left.into_iter()
        .zip(right)
        .map(|(a, b)| combine(a, b))
        .collect()
}

/// The formula of an operator of two floats.
pub fn binary(op: Binary, a: f32, b: f32) -> f32 {
    match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Pow => a.powf(b),
        Binary::Max => a.max(b),
        Binary::Min => a.min(b),
        Binary::PRelu => a.max(0.0) + b * a.min(0.0),
    }
}

/// The formula of an operator of one float; none for those that do not occur in constants.
pub fn unary(op: &Unary) -> Option<fn(f32) -> f32> {
    match op {
        Unary::Abs => Some(f32::abs),
        Unary::Ceil => Some(f32::ceil),
        Unary::Cos => Some(f32::cos),
        Unary::Exp => Some(f32::exp),
        Unary::Floor => Some(f32::floor),
        Unary::Log => Some(f32::ln),
        Unary::Neg => Some(|a| -a),
        Unary::Reciprocal => Some(f32::recip),
        Unary::Round => Some(f32::round_ties_even),
        Unary::Sin => Some(f32::sin),
        Unary::Sqrt => Some(f32::sqrt),
        Unary::Tanh => Some(f32::tanh),
        Unary::Sigmoid => Some(|a| 1.0 / (1.0 + (-a).exp())),
        Unary::Clip { .. }
        | Unary::Elu { .. }
        | Unary::Erf
        | Unary::Gelu { .. }
        | Unary::HardSigmoid { .. }
        | Unary::HardSwish
        | Unary::LeakyRelu { .. }
        | Unary::Mish
        | Unary::Relu
        | Unary::Selu { .. }
        | Unary::Sign
        | Unary::Softplus
        | Unary::Softsign
        | Unary::Swish { .. } => None,
    }
}

/// How many values apart the entries of each axis are.
fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis];
    }
    strides
}

/// The strides of a value that is repeated to the shape `output`.
fn broadcast_strides(dims: &[usize], output: &[usize]) -> Option<Vec<usize>> {
    let missing = output.len().checked_sub(dims.len())?;
    let own = dims
        .iter()
        .zip(strides(dims))
        .map(|(&size, stride)| if size == 1 { 0 } else { stride });
    Some(std::iter::repeat_n(0, missing).chain(own).collect())
}

/// The values at `start` plus multiples of the strides, in the order of the shape `output`.
fn strided<T: Copy>(
    values: &[T],
    output: &[usize],
    start: usize,
    strides: &[usize],
) -> Option<Vec<T>> {
    let count = output.iter().product();
    let mut found = Vec::with_capacity(count);
    let mut at = vec![0; output.len()];
    let mut offset = start;
    for _ in 0..count {
        found.push(*values.get(offset)?);
        for axis in (0..output.len()).rev() {
            at[axis] += 1;
            offset += strides[axis];
            if at[axis] < output[axis] {
                break;
            }
            offset -= strides[axis] * output[axis];
            at[axis] = 0;
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use kiln_model::graph::{Size, SliceAxis};

    use super::*;

    const VALUES: [i32; 6] = [1, 2, 3, 4, 5, 6];

    fn of(op: &Op, output: &[usize]) -> Vec<i32> {
        moved(op, &[(&[2, 3], &VALUES)], output).unwrap()
    }

    #[test]
    fn values_move_as_numpys() {
        let transposed = Op::Transpose { perm: vec![1, 0] };
        assert_eq!(of(&transposed, &[3, 2]), [1, 4, 2, 5, 3, 6]);
        let part = SliceAxis {
            axis: 1,
            start: 0,
            step: 2,
            length: 2,
        };
        assert_eq!(of(&Op::Slice(vec![part]), &[2, 2]), [1, 3, 4, 6]);
        let gather = Op::Gather {
            axis: 1,
            indices: vec![2, 0],
            dims: vec![2],
        };
        assert_eq!(of(&gather, &[2, 2]), [3, 1, 6, 4]);
        let both: [(&[usize], &[i32]); 2] = [(&[2, 3], &VALUES), (&[2, 1], &[8, 9])];
        let concat = Op::Concat { axis: 1 };
        assert_eq!(
            moved(&concat, &both, &[2, 4]).unwrap(),
            [1, 2, 3, 8, 4, 5, 6, 9]
        );
        let expand = Op::Expand {
            dims: vec![Size::Fixed(2), Size::Fixed(2)],
        };
        assert_eq!(
            moved(&expand, &[(&[2, 1], &[8, 9])], &[2, 2]).unwrap(),
            [8, 8, 9, 9]
        );
        assert_eq!(
            combined(both, &[2, 3], |a, b| Some(a * b)).unwrap(),
            [8, 16, 24, 36, 45, 54]
        );
        assert_eq!(
            combined([(&[], &[2]), (&[0], &[])], &[0], |a, b| Some(a * b)).unwrap(),
            [0_i32; 0]
        );
    }
}
