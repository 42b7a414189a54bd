//! Operators that compute number by number.

use kiln_model::graph::{Binary, Op, Unary};

use crate::error::GraphError;
use crate::graph::call::Call;
use crate::graph::constant::{Constant, is_float};
use crate::graph::reading::{Reading, unary};

/// Reads an operator of this family; none if it is of another.
pub fn read(operator: &str, call: &Call<'_>) -> Result<Option<Reading>, GraphError> {
    if let Some(binary) = binary(operator) {
        return Ok(Some(match binary {
            // Of any number of values.
            Binary::Max | Binary::Min => Reading::Fold(binary),
            _ if operator == "Sum" => Reading::Fold(binary),
            _ => Reading::One(Op::Binary(binary), vec![0, 1]),
        }));
    }
    Ok(Some(match operator {
        "Identity" => Reading::Same,
        "Dropout" => dropout(call)?,
        "CastLike" if !call.constant_at(1).is_some_and(Constant::is_integer) => Reading::Same,
        "Cast" if is_float(call.place().int("to", 1)) => Reading::Same,
        "PRelu" => Reading::One(Op::Binary(Binary::PRelu), vec![0, 1]),
        _ => match self::unary_of(operator, call)? {
            Some(op) => unary(Op::Unary(op)),
            None => return Ok(None),
        },
    }))
}

fn binary(operator: &str) -> Option<Binary> {
    Some(match operator {
        "Add" | "Sum" => Binary::Add,
        "Sub" => Binary::Sub,
        "Mul" => Binary::Mul,
        "Div" => Binary::Div,
        "Pow" => Binary::Pow,
        "Max" => Binary::Max,
        "Min" => Binary::Min,
        _ => return None,
    })
}

fn unary_of(operator: &str, call: &Call<'_>) -> Result<Option<Unary>, GraphError> {
    let place = call.place();
    let alpha = |default| place.float("alpha", default);
    Ok(Some(match operator {
        "Abs" => Unary::Abs,
        "Ceil" => Unary::Ceil,
        "Clip" => clip(call)?,
        "Cos" => Unary::Cos,
        "Elu" => Unary::Elu { alpha: alpha(1.0) },
        "Erf" => Unary::Erf,
        "Exp" => Unary::Exp,
        "Floor" => Unary::Floor,
        "Gelu" => match place.string("approximate", "none").as_str() {
            "none" => Unary::Gelu { tanh: false },
            "tanh" => Unary::Gelu { tanh: true },
            other => return place.mismatch("approximate", "none or tanh", other),
        },
        "HardSigmoid" => Unary::HardSigmoid {
            alpha: alpha(0.2),
            beta: place.float("beta", 0.5),
        },
        "HardSwish" => Unary::HardSwish,
        "LeakyRelu" => Unary::LeakyRelu { alpha: alpha(0.01) },
        "Log" => Unary::Log,
        "Mish" => Unary::Mish,
        "Neg" => Unary::Neg,
        "Reciprocal" => Unary::Reciprocal,
        "Relu" => Unary::Relu,
        "Round" => Unary::Round,
        "Selu" => Unary::Selu {
            alpha: alpha(1.673_263_2),
            gamma: place.float("gamma", 1.050_701),
        },
        "Sigmoid" => Unary::Sigmoid,
        "Sign" => Unary::Sign,
        "Sin" => Unary::Sin,
        "Softplus" => Unary::Softplus,
        "Softsign" => Unary::Softsign,
        "Sqrt" => Unary::Sqrt,
        "Swish" => Unary::Swish { alpha: alpha(1.0) },
        "Tanh" => Unary::Tanh,
        _ => return Ok(None),
    }))
}

/// Without effect outside of training, which is an input from opset 12 on.
fn dropout(call: &Call<'_>) -> Result<Reading, GraphError> {
    let training = call.ints(2, "training_mode")?.unwrap_or_default();
    let training = training.iter().any(|&flag| flag != 0);
    call.place().require("training_mode", &false, &training)?;
    Ok(Reading::Same)
}

/// Limits are inputs from opset 11 on; some exporters write the largest floats for none.
fn clip(call: &Call<'_>) -> Result<Unary, GraphError> {
    let (min, max) = if call.opset >= 11 {
        (call.float(1, "min")?, call.float(2, "max")?)
    } else {
        let place = call.place();
        (
            Some(place.float("min", f32::MIN)),
            Some(place.float("max", f32::MAX)),
        )
    };
    Ok(Unary::Clip {
        min: min.filter(|&min| min > f32::MIN),
        max: max.filter(|&max| max < f32::MAX),
    })
}
