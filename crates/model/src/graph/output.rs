//! The shape that an operator gives.

use super::arithmetic::{axis_of, broadcast, gemm, matmul, normalized, per_channel, reduce};
use super::error::RuleError;
use super::layout;
use super::op::{Binary, Op};
use super::size::{Dims, Size};
use super::window::Pool;

impl Op {
    /// Computes the shape of the output from those of the inputs. Shapes that do not fit are an
    /// error, and so is [`Op::Other`].
    pub fn output(&self, inputs: &[&Dims]) -> Result<Dims, RuleError> {
        let output = self.rule(inputs)?;
        if output.rank() > Dims::MAX_RANK {
            return Err(RuleError::Rank {
                expected: "at most 6",
                found: output,
            });
        }
        match output.count() {
            Some(_) => Ok(output),
            None => Err(RuleError::TooLarge(output)),
        }
    }

    fn rule(&self, inputs: &[&Dims]) -> Result<Dims, RuleError> {
        match self {
            Self::Conv(conv) => conv.output(inputs),
            Self::BatchNormalization { .. } => {
                let [value, parameters @ ..] = exactly::<5>("5", inputs)?;
                per_channel(value, &parameters)
            }
            Self::InstanceNormalization { .. } => {
                let [value, parameters @ ..] = exactly::<3>("3", inputs)?;
                per_channel(value, &parameters)
            }
            Self::GroupNormalization { groups, .. } => {
                let [value, parameters @ ..] = exactly::<3>("3", inputs)?;
                let channels = axis_of(value, 1)?;
                match channels.fixed() {
                    Some(count) if *groups > 0 && count.is_multiple_of(*groups) => {
                        per_channel(value, &parameters)
                    }
                    _ => Err(RuleError::Setting {
                        expected: "groups that divide the channels",
                        found: format!("{groups} for {channels}"),
                    }),
                }
            }
            Self::LayerNormalization { axis, .. } => normalized(*axis, inputs),
            Self::Lrn(_) => {
                let value = only(inputs)?;
                axis_of(value, 1)?;
                Ok(value.clone())
            }
            Self::Gemm(settings) => gemm(*settings, inputs),
            Self::MatMul => {
                let [left, right] = exactly::<2>("2", inputs)?;
                matmul(left, right)
            }
            Self::Binary(binary) => {
                let [left, right] = exactly::<2>("2", inputs)?;
                let output = broadcast(left, right)?;
                if *binary == Binary::PRelu && output != *left {
                    return Err(RuleError::Broadcast {
                        left: left.clone(),
                        right: right.clone(),
                    });
                }
                Ok(output)
            }
            Self::Unary(_) => only(inputs).cloned(),
            Self::MaxPool(pool) | Self::AveragePool(pool) => pooled(pool, only(inputs)?),
            Self::GlobalAveragePool | Self::GlobalMaxPool => globally(only(inputs)?),
            Self::Reduce {
                axes, keep_dims, ..
            } => reduce(axes, *keep_dims, only(inputs)?),
            Self::Softmax { axis } | Self::LogSoftmax { axis } => {
                let value = only(inputs)?;
                match axis_of(value, *axis)? {
                    Size::Fixed(_) => Ok(value.clone()),
                    Size::Batch(_) => Err(RuleError::Batch {
                        axis: *axis,
                        dims: value.clone(),
                    }),
                }
            }
            Self::Concat { axis } => layout::concat(*axis, inputs),
            Self::Slice(parts) => layout::slice(parts, only(inputs)?),
            Self::Gather {
                axis,
                indices,
                dims,
            } => layout::gather(*axis, indices, dims, only(inputs)?),
            Self::Transpose { perm } => layout::transpose(perm, only(inputs)?),
            Self::Reshape { dims } => layout::reshape(dims, only(inputs)?),
            Self::Flatten { axis } => layout::flatten(*axis, only(inputs)?),
            Self::Squeeze { axes } => layout::squeeze(axes, only(inputs)?),
            Self::Unsqueeze { axes } => layout::unsqueeze(axes, only(inputs)?),
            Self::Expand { dims } => broadcast(only(inputs)?, &dims.clone().into()),
            Self::Pad(padded) => layout::pad(&padded.pads, only(inputs)?),
            Self::Other(other) => Err(RuleError::Other(other.reason.clone())),
        }
    }
}

/// Returns the only input.
fn only<'a>(inputs: &[&'a Dims]) -> Result<&'a Dims, RuleError> {
    match inputs {
        [input] => Ok(*input),
        _ => Err(RuleError::Inputs {
            expected: "1",
            found: inputs.len(),
        }),
    }
}

/// Returns the inputs, if they are as many.
fn exactly<'a, const COUNT: usize>(
    expected: &'static str,
    inputs: &[&'a Dims],
) -> Result<[&'a Dims; COUNT], RuleError> {
    <[&Dims; COUNT]>::try_from(inputs).map_err(|_| RuleError::Inputs {
        expected,
        found: inputs.len(),
    })
}

fn pooled(pool: &Pool, image: &Dims) -> Result<Dims, RuleError> {
    let [rows, columns] = pool.window.output(image, pool.ceil_mode)?;
    let kept = image.sizes().iter().take(2).copied();
    Ok(kept.chain([rows, columns]).collect())
}

fn globally(image: &Dims) -> Result<Dims, RuleError> {
    let rank = image.rank();
    if rank < 3 {
        return Err(RuleError::Rank {
            expected: "3 or more",
            found: image.clone(),
        });
    }
    for axis in 2..rank {
        if axis_of(image, axis)?.fixed().is_none() {
            return Err(RuleError::Batch {
                axis,
                dims: image.clone(),
            });
        }
    }
    let kept = image.sizes().iter().take(2).copied();
    Ok(kept
        .chain(std::iter::repeat_n(Size::Fixed(1), rank - 2))
        .collect())
}
