//! Operators that compute number by number.

use burn::backend::Dispatch;
use burn::backend::ops::{ActivationOps, FloatTensorOps};
use kiln_model::graph::{Binary, Unary};

use super::value::{Value, add, aligned, answers, dims, expand, mul, plus, times};

/// Applies an operator of one value.
pub fn unary(op: &Unary, x: Value) -> Value {
    match *op {
        Unary::Abs => Dispatch::float_abs(x),
        Unary::Ceil => Dispatch::float_ceil(x),
        Unary::Clip { min, max } => clip(x, min, max),
        Unary::Cos => Dispatch::float_cos(x),
        Unary::Elu { alpha } => elu(x, alpha),
        Unary::Erf => Dispatch::float_erf(x),
        Unary::Exp => Dispatch::float_exp(x),
        Unary::Floor => Dispatch::float_floor(x),
        Unary::Gelu { tanh: false } => Dispatch::gelu(x),
        Unary::Gelu { tanh: true } => gelu_by_tanh(x),
        Unary::HardSigmoid { alpha, beta } => hard_sigmoid(x, alpha, beta),
        Unary::HardSwish => mul(x.clone(), hard_sigmoid(x, 1.0 / 6.0, 0.5)),
        Unary::LeakyRelu { alpha } => {
            let scaled = times(x.clone(), alpha);
            where_positive(x.clone(), x, scaled)
        }
        Unary::Log => Dispatch::float_log(x),
        Unary::Mish => mul(x.clone(), Dispatch::float_tanh(softplus(x))),
        Unary::Neg => Dispatch::float_neg(x),
        Unary::Reciprocal => Dispatch::float_recip(x),
        Unary::Relu => Dispatch::relu(x),
        Unary::Round => Dispatch::float_round(x),
        Unary::Selu { alpha, gamma } => times(elu(x, alpha), gamma),
        Unary::Sigmoid => Dispatch::sigmoid(x),
        Unary::Sign => Dispatch::float_sign(x),
        Unary::Sin => Dispatch::float_sin(x),
        Unary::Softplus => softplus(x),
        Unary::Softsign => {
            let size = plus(Dispatch::float_abs(x.clone()), 1.0);
            Dispatch::float_div(x, size)
        }
        Unary::Sqrt => Dispatch::float_sqrt(x),
        Unary::Swish { alpha } => mul(x.clone(), Dispatch::sigmoid(times(x, alpha))),
        Unary::Tanh => Dispatch::float_tanh(x),
    }
}

/// Applies an operator of two values, which broadcast.
pub fn binary(op: Binary, left: Value, right: Value) -> Value {
    let [left, right] = aligned(left, right);
    match op {
        Binary::Add => add(left, right),
        Binary::Sub => Dispatch::float_sub(left, right),
        Binary::Mul => mul(left, right),
        Binary::Div => Dispatch::float_div(left, right),
        Binary::Pow => Dispatch::float_powf(left, right),
        Binary::Max => larger(left, right),
        // The smaller one is the negative of the larger of the negatives.
        Binary::Min => Dispatch::float_neg(larger(
            Dispatch::float_neg(left),
            Dispatch::float_neg(right),
        )),
        Binary::PRelu => {
            let scaled = mul(left.clone(), right);
            where_positive(left.clone(), left, scaled)
        }
    }
}

/// Applies an operator of a value and one number that training leaves alone, if there is a way that
/// is shorter than with a value of one number.
pub fn with_number(op: Binary, left: &Value, number: f32) -> Option<Value> {
    let x = || left.clone();
    match op {
        Binary::Add => Some(plus(x(), number)),
        Binary::Sub => Some(plus(x(), -number)),
        Binary::Mul => Some(times(x(), number)),
        Binary::Div => Some(Dispatch::float_div_scalar(x(), number.into())),
        Binary::Pow => Some(Dispatch::float_powf_scalar(x(), number.into())),
        Binary::Max => Some(Dispatch::float_clamp_min(x(), number.into())),
        Binary::Min => Some(Dispatch::float_clamp_max(x(), number.into())),
        Binary::PRelu => None,
    }
}

fn clip(x: Value, min: Option<f32>, max: Option<f32>) -> Value {
    let x = match min {
        Some(min) => Dispatch::float_clamp_min(x, min.into()),
        None => x,
    };
    match max {
        Some(max) => Dispatch::float_clamp_max(x, max.into()),
        None => x,
    }
}

/// `x` where it is positive, else `alpha · (exp(x) - 1)`. The exponential of a large number, which
/// is not used, would have an infinite gradient.
fn elu(x: Value, alpha: f32) -> Value {
    let exp = Dispatch::float_exp(Dispatch::float_clamp_max(x.clone(), 0_f32.into()));
    let negative = times(plus(exp, -1.0), alpha);
    where_positive(x.clone(), x, negative)
}

/// `x / 2 · (1 + tanh(√(2 / π) · (x + 0.044715 · x³)))`.
fn gelu_by_tanh(x: Value) -> Value {
    let factor = (2.0 / std::f64::consts::PI).sqrt() as f32;
    let square = mul(x.clone(), x.clone());
    let inner = mul(x.clone(), plus(times(square, 0.044_715 * factor), factor));
    times(mul(x, plus(Dispatch::float_tanh(inner), 1.0)), 0.5)
}

fn hard_sigmoid(x: Value, alpha: f32, beta: f32) -> Value {
    clip(plus(times(x, alpha), beta), Some(0.0), Some(1.0))
}

/// `ln(1 + exp(x))`.
fn softplus(x: Value) -> Value {
    Dispatch::float_neg(Dispatch::log_sigmoid(Dispatch::float_neg(x)))
}

/// `then` where `x` is positive, else `otherwise`.
fn where_positive(x: Value, then: Value, otherwise: Value) -> Value {
    let answers = answers(&x);
    let mask = Dispatch::float_greater_elem(x, 0_f32.into(), answers);
    Dispatch::float_mask_where(otherwise, mask, then)
}

fn larger(left: Value, right: Value) -> Value {
    let shape: Vec<_> = dims(&left)
        .into_iter()
        .zip(dims(&right))
        .map(|(a, b)| if a == 1 { b } else { a })
        .collect();
    let [left, right] = [left, right].map(|value| expand(value, &shape));
    let answers = answers(&left);
    let mask = Dispatch::float_greater(left.clone(), right.clone(), answers);
    Dispatch::float_mask_where(right, mask, left)
}
