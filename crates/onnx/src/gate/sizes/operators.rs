//! What operators make of what is known about their inputs.

use super::call::Call;
use super::value::{Dim, Value};
use super::{layout, numbers, window};
use crate::proto::DataType;

/// The outputs of a node of ONNX's own operators, in their order; none where nothing is known.
pub fn outputs(operator: &str, call: &Call<'_>) -> Option<Vec<Value>> {
    let one = |value: Option<Value>| value.map(|value| vec![value]);
    match operator {
        "Constant" => one(constant(call)),
        "Identity" | "Dropout" => one(call.input(0).cloned()),
        "Cast" | "CastLike" => one(cast(operator, call)),
        "Abs" | "Neg" | "Floor" | "Ceil" | "Round" | "Sqrt" | "Not" | "Sign" | "Reciprocal" => {
            one(numbers::unary(operator, call))
        }
        "Add" | "Sub" | "Mul" | "Div" | "Mod" | "Pow" | "Max" | "Min" | "Sum" | "Mean" | "And"
        | "Or" | "Xor" | "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual"
        | "BitShift" | "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" | "PRelu" => {
            one(numbers::broadcast(operator, call))
        }
        "Where" => one(numbers::chosen(call)),
        "Range" => one(numbers::range(call)),
        "ReduceSum" | "ReduceProd" | "ReduceMax" | "ReduceMin" | "ReduceMean" | "ReduceL1"
        | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceSumSquare" => {
            one(numbers::reduced(operator, call))
        }
        "ArgMax" | "ArgMin" => one(arg(call)),
        "MatMul" | "MatMulInteger" | "QLinearMatMul" => one(mat_mul(operator, call)),
        "Gemm" => one(gemm(call)),
        "Einsum" => one(einsum(call)),
        "QuantizeLinear" | "DequantizeLinear" => one(quantized(operator, call)),
        "DynamicQuantizeLinear" => {
            let shape = call.input(0)?.dims.clone();
            Some(vec![
                Value::new(Some(DataType::Uint8), shape),
                Value::new(Some(DataType::Float), Some(vec![])),
                Value::new(Some(DataType::Uint8), Some(vec![])),
            ])
        }
        "RNN" | "GRU" | "LSTM" => recurrent(call),
        "BatchNormalization" | "LayerNormalization" => one(like(call.input(0))),
        "IsNaN" | "IsInf" => one(call
            .input(0)
            .map(|value| value.shaped_like(Some(DataType::Bool)))),
        "NonZero" => {
            let dims = vec![call.input(0)?.rank().map(|rank| rank as u64), None];
            one(Some(Value::new(Some(DataType::Int64), Some(dims))))
        }
        _ if is_elementwise(operator) => one(like(call.input(0))),
        _ => layout::outputs(operator, call).or_else(|| one(window::output(operator, call))),
    }
}

/// Operators whose first output has the type and the shape of their first input.
fn is_elementwise(operator: &str) -> bool {
    matches!(
        operator,
        "Acos"
            | "Acosh"
            | "Asin"
            | "Asinh"
            | "Atan"
            | "Atanh"
            | "Bernoulli"
            | "BitwiseNot"
            | "Celu"
            | "Clip"
            | "Cos"
            | "Cosh"
            | "CumSum"
            | "Elu"
            | "Erf"
            | "Exp"
            | "Gelu"
            | "GroupNormalization"
            | "HardSigmoid"
            | "HardSwish"
            | "Hardmax"
            | "InstanceNormalization"
            | "LRN"
            | "LeakyRelu"
            | "Log"
            | "LogSoftmax"
            | "LpNormalization"
            | "MeanVarianceNormalization"
            | "Mish"
            | "RMSNormalization"
            | "Relu"
            | "ReverseSequence"
            | "Scatter"
            | "ScatterElements"
            | "ScatterND"
            | "Selu"
            | "Shrink"
            | "Sigmoid"
            | "Sin"
            | "Sinh"
            | "Softmax"
            | "Softplus"
            | "Softsign"
            | "Swish"
            | "Tan"
            | "Tanh"
            | "ThresholdedRelu"
            | "Trilu"
    )
}

fn like(value: Option<&Value>) -> Option<Value> {
    let value = value?;
    Some(value.shaped_like(value.data_type))
}

fn constant(call: &Call<'_>) -> Option<Value> {
    let scalar = |data_type, number| Value::of_numbers(Some(data_type), vec![], vec![Some(number)]);
    if let Some(tensor) = call.tensor("value") {
        return Some(Value::of_tensor(tensor));
    }
    if let Some(sparse) = call
        .attribute("sparse_value")
        .and_then(|it| it.sparse_tensor.as_ref())
    {
        return Some(Value::of_sparse(sparse));
    }
    if let Some(int) = call.int("value_int") {
        return Some(scalar(DataType::Int64, int as f64));
    }
    if let Some(float) = call.float("value_float") {
        return Some(scalar(DataType::Float, float));
    }
    if let Some(ints) = call.ints("value_ints") {
        let numbers = ints.iter().map(|&int| Some(int as f64)).collect();
        return Some(Value::list(DataType::Int64, numbers));
    }
    let floats = &call.attribute("value_floats")?.floats;
    let numbers = floats.iter().map(|&float| Some(f64::from(float)));
    Some(Value::list(DataType::Float, numbers.collect()))
}

fn cast(operator: &str, call: &Call<'_>) -> Option<Value> {
    let value = call.input(0)?;
    let data_type = match operator {
        "Cast" => call.type_of("to"),
        _ => call.input(1)?.data_type,
    };
    let cast = Value {
        data_type,
        ..value.clone()
    };
    let Some(numbers) = value.numbers.as_ref().filter(|_| !cast.is_float()) else {
        return Some(cast);
    };
    let cut = |number: f64| match data_type {
        Some(DataType::Bool) => f64::from(u8::from(number.abs() > 0.0)),
        _ => number.trunc(),
    };
    let numbers = numbers.iter().map(|number| number.map(cut)).collect();
    Some(Value {
        numbers: Some(numbers),
        ..cast
    })
}

fn arg(call: &Call<'_>) -> Option<Value> {
    let mut dims = call.dims(0)?.to_vec();
    let axis = call.axis("axis", 0, dims.len())?;
    if call.flag("keepdims", true) {
        dims[axis] = Some(1);
    } else {
        dims.remove(axis);
    }
    Some(Value::new(Some(DataType::Int64), Some(dims)))
}

fn mat_mul(operator: &str, call: &Call<'_>) -> Option<Value> {
    let (right, data_type) = match operator {
        "MatMul" => (1, call.input(0)?.data_type),
        "MatMulInteger" => (1, Some(DataType::Int32)),
        _ => (3, call.input(7).and_then(|zero| zero.data_type)),
    };
    let (mut a, mut b) = (call.dims(0)?.to_vec(), call.dims(right)?.to_vec());
    let (is_row, is_column) = (a.len() == 1, b.len() == 1);
    if is_row {
        a.insert(0, Some(1));
    }
    if is_column {
        b.push(Some(1));
    }
    let [outer_a @ .., rows, _] = a.as_slice() else {
        return None;
    };
    let [outer_b @ .., _, columns] = b.as_slice() else {
        return None;
    };
    let mut dims = numbers::broadcast_dims([outer_a, outer_b])?;
    dims.extend((!is_row).then_some(*rows));
    dims.extend((!is_column).then_some(*columns));
    Some(Value::new(data_type, Some(dims)))
}

fn gemm(call: &Call<'_>) -> Option<Value> {
    let side = |index: usize, transposed: &str, axis: usize| -> Option<Dim> {
        let dims: [Dim; 2] = call.dims(index)?.try_into().ok()?;
        Some(
            dims[if call.flag(transposed, false) {
                1 - axis
            } else {
                axis
            }],
        )
    };
    let dims = vec![side(0, "transA", 0)?, side(1, "transB", 1)?];
    Some(Value::new(call.input(0)?.data_type, Some(dims)))
}

/// Letters without an ellipsis.
fn einsum(call: &Call<'_>) -> Option<Value> {
    let equation: Vec<u8> = call
        .text("equation")?
        .iter()
        .copied()
        .filter(|it| *it != b' ')
        .collect();
    let equation = String::from_utf8(equation).ok()?;
    let (inputs, output) = equation.split_once("->")?;
    let mut sizes = std::collections::HashMap::new();
    for (index, letters) in inputs.split(',').enumerate() {
        let dims = call.dims(index)?;
        if letters.len() != dims.len() {
            return None;
        }
        for (letter, &dim) in letters.bytes().zip(dims) {
            let size = sizes.entry(letter).or_insert(dim);
            if size.is_none_or(|size| size == 1) {
                *size = dim;
            }
        }
    }
    let dims: Option<Vec<Dim>> = output
        .bytes()
        .map(|letter| sizes.get(&letter).copied())
        .collect();
    Some(Value::new(call.input(0)?.data_type, Some(dims?)))
}

fn quantized(operator: &str, call: &Call<'_>) -> Option<Value> {
    let data_type = if operator == "DequantizeLinear" {
        call.input(1).and_then(|scale| scale.data_type)
    } else {
        let zero = call.input(2).and_then(|zero| zero.data_type);
        zero.or_else(|| call.type_of("output_dtype"))
    };
    Some(Value::new(data_type, call.input(0)?.dims.clone()))
}

fn recurrent(call: &Call<'_>) -> Option<Vec<Value>> {
    let data_type = call.input(0)?.data_type;
    let &[steps, batch, _] = call.dims(0)? else {
        return None;
    };
    let directions = call.dims(1)?.first().copied()?;
    let hidden = call
        .int("hidden_size")
        .and_then(|size| u64::try_from(size).ok());
    let state = vec![directions, batch, hidden];
    let whole = [vec![steps], state.clone()].concat();
    let value = |dims| Value::new(data_type, Some(dims));
    Some(vec![value(whole), value(state.clone()), value(state)])
}
