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
            Self::Unary(_) | Self::Dropout { .. } | Self::StochasticDepth { .. } => {
                only(inputs).cloned()
            }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::op::{Binary, Gemm, Reduction, SliceAxis};
    use super::super::window::{Conv, PadMode, Padded, Window};
    use super::*;

    #[test]
    fn normalizations_and_poolings_keep_the_batch() {
        let image = Dims::batched([64, 7, 7]);
        let channels = Dims::fixed(&[64]);
        let norm = Op::BatchNormalization {
            epsilon: 1e-5,
            momentum: 0.9,
        };
        let five = [&image, &channels, &channels, &channels, &channels];
        assert_eq!(norm.output(&five), Ok(image.clone()));
        assert!(norm.output(&five[..4]).is_err());
        let few = Dims::fixed(&[32]);
        assert!(
            norm.output(&[&image, &channels, &channels, &channels, &few])
                .is_err()
        );
        let groups = |groups| Op::GroupNormalization {
            groups,
            epsilon: 1e-5,
        };
        assert!(groups(32).output(&five[..3]).is_ok());
        assert!(groups(3).output(&five[..3]).is_err());
        let layer = |axis| Op::LayerNormalization {
            axis,
            epsilon: 1e-5,
        };
        let tokens = Dims::batched([49, 64]);
        assert_eq!(layer(2).output(&[&tokens, &channels]), Ok(tokens.clone()));
        assert!(layer(0).output(&[&tokens, &channels]).is_err());
        assert_eq!(
            Op::GlobalAveragePool.output(&[&image]),
            Ok(Dims::batched([64, 1, 1]))
        );
        assert!(Op::Softmax { axis: 0 }.output(&[&image]).is_err());
        let slope = Op::Binary(Binary::PRelu);
        assert!(slope.output(&[&channels, &image]).is_err());
    }

    fn sizes() -> impl Strategy<Value = usize> {
        prop_oneof![0..5_usize, Just(usize::MAX), Just(1 << 40)]
    }

    fn dims() -> impl Strategy<Value = Dims> {
        let size = (any::<bool>(), sizes()).prop_map(|(batch, size)| {
            if batch {
                Size::Batch(size)
            } else {
                Size::Fixed(size)
            }
        });
        prop::collection::vec(size, 0..6).prop_map(Dims::from)
    }

    fn op() -> impl Strategy<Value = Op> {
        let lists = prop::collection::vec(sizes(), 0..5);
        (0..16, lists, sizes(), sizes(), any::<bool>()).prop_map(|(kind, list, a, b, flag)| {
            let window = Window {
                kernel: [a, b],
                strides: [b, a],
                dilations: [a, 1],
                pads: [[a, b], [b, a]],
            };
            let pool = Pool {
                window,
                ceil_mode: flag,
                count_include_pad: flag,
            };
            match kind {
                0 => Op::Conv(Conv { window, groups: a }),
                1 => Op::MaxPool(pool),
                2 => Op::LayerNormalization {
                    axis: a,
                    epsilon: 0.0,
                },
                3 => Op::Gemm(Gemm {
                    alpha: 1.0,
                    beta: 1.0,
                    trans_a: flag,
                    trans_b: !flag,
                }),
                4 => Op::MatMul,
                5 => Op::Reduce {
                    reduction: Reduction::Mean,
                    axes: list,
                    keep_dims: flag,
                },
                6 => Op::Softmax { axis: a },
                7 => Op::Concat { axis: a },
                8 => Op::Slice(vec![SliceAxis {
                    axis: a % 6,
                    start: a,
                    step: b,
                    length: b,
                }]),
                9 => Op::Gather {
                    axis: a,
                    dims: list.clone(),
                    indices: list,
                },
                10 => Op::Transpose { perm: list },
                11 => Op::Reshape {
                    dims: list.into_iter().map(Size::Fixed).collect(),
                },
                12 => Op::Flatten { axis: a },
                13 => Op::Squeeze { axes: list },
                14 => Op::Unsqueeze { axes: list },
                _ => Op::Pad(Padded {
                    pads: vec![[a, b]; list.len()],
                    mode: PadMode::Edge,
                }),
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn no_shapes_panic(op in op(), inputs in prop::collection::vec(dims(), 0..4)) {
            let inputs: Vec<&Dims> = inputs.iter().collect();
            if let Ok(output) = op.output(&inputs) {
                prop_assert!(output.rank() <= Dims::MAX_RANK && output.count().is_some());
            }
        }
    }
}
