//! Products and normalizations.

use kiln_model::graph::{Gemm, Lrn, Op};

use crate::error::GraphError;
use crate::graph::call::Call;
use crate::graph::reading::{Reading, unary};

/// Reads an operator of this family; none if it is of another.
pub fn read(operator: &str, call: &Call<'_>) -> Result<Option<Reading>, GraphError> {
    let place = call.place();
    let epsilon = place.float("epsilon", 1e-5);
    let all = || (0..call.count()).collect();
    Ok(Some(match operator {
        "Gemm" => {
            let op = Op::Gemm(Gemm {
                alpha: place.float("alpha", 1.0),
                beta: place.float("beta", 1.0),
                trans_a: place.int("transA", 0) != 0,
                trans_b: place.int("transB", 0) != 0,
            });
            Reading::One(op, all())
        }
        "MatMul" => Reading::One(Op::MatMul, vec![0, 1]),
        "BatchNormalization" => {
            // Before opset 9 statistics could be of every pixel.
            place.require("spatial", &1, &place.int("spatial", 1))?;
            place.require("training_mode", &0, &place.int("training_mode", 0))?;
            let momentum = place.float("momentum", 0.9);
            Reading::One(Op::BatchNormalization { epsilon, momentum }, all())
        }
        "InstanceNormalization" => Reading::One(Op::InstanceNormalization { epsilon }, all()),
        "GroupNormalization" => group_normalization(call, epsilon)?,
        "LayerNormalization" => {
            let axis = call.axis(place.int("axis", -1), call.shape(0)?.rank(), false)?;
            Reading::One(Op::LayerNormalization { axis, epsilon }, all())
        }
        "LRN" => {
            let size = place.int("size", 0);
            let Some(size) = usize::try_from(size).ok().filter(|&size| size > 0) else {
                return place.mismatch("size", "1 or more", size);
            };
            unary(Op::Lrn(Lrn {
                alpha: place.float("alpha", 1e-4),
                beta: place.float("beta", 0.75),
                bias: place.float("bias", 1.0),
                size,
            }))
        }
        _ => return Ok(None),
    }))
}

/// Before opset 21 scale and bias were of groups: the same where each channel is a group.
fn group_normalization(call: &Call<'_>, epsilon: f32) -> Result<Reading, GraphError> {
    let place = call.place();
    let groups = place.int("num_groups", 0);
    let Some(groups) = usize::try_from(groups).ok().filter(|&groups| groups > 0) else {
        return place.mismatch("num_groups", "1 or more", groups);
    };
    Ok(Reading::One(
        Op::GroupNormalization { groups, epsilon },
        (0..call.count()).collect(),
    ))
}
