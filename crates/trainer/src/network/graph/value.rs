//! Values whose rank is known at run time, and what most operators do with them.

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Dispatch, TensorMetadata};
use burn::tensor::{BoolDType, Shape};

/// A tensor on any device, with gradients or without. A single number is a vector of one.
pub type Value = FloatTensor<Dispatch>;

/// The sizes of the axes.
pub fn dims(value: &Value) -> Vec<usize> {
    value.shape().to_vec()
}

/// The number of axes.
pub fn rank(value: &Value) -> usize {
    value.shape().num_dims()
}

/// The same numbers in another shape; no axes are one axis of a single number.
pub fn reshape(value: Value, shape: &[usize]) -> Value {
    let shape = if shape.is_empty() { &[1] } else { shape };
    if dims(&value) == shape {
        return value;
    }
    Dispatch::float_reshape(value, Shape::from(shape.to_vec()))
}

/// The value with axes of size 1 in front, up to `rank` axes.
pub fn with_rank(value: Value, rank: usize) -> Value {
    let found = dims(&value);
    let missing = rank.saturating_sub(found.len());
    let shape: Vec<_> = std::iter::repeat_n(1, missing).chain(found).collect();
    reshape(value, &shape)
}

/// Both with as many axes as the larger one has: where ranks are the same, Burn broadcasts.
pub fn aligned(left: Value, right: Value) -> [Value; 2] {
    let rank = rank(&left).max(rank(&right));
    [left, right].map(|value| with_rank(value, rank))
}

/// The value repeated along axes of size 1.
pub fn expand(value: Value, shape: &[usize]) -> Value {
    let value = with_rank(value, shape.len());
    if dims(&value) == shape {
        return value;
    }
    Dispatch::float_expand(value, Shape::from(shape.to_vec()))
}

/// Numbers for the channels, axis 1, of a value with `rank` axes.
pub fn per_channel(values: Value, rank: usize) -> Value {
    let channels = values.shape().num_elements();
    let mut shape = vec![1; rank];
    shape[1] = channels;
    reshape(values, &shape)
}

/// How the device keeps the answers of comparisons.
pub fn answers(value: &Value) -> BoolDType {
    burn::backend::get_or_init_device_settings::<Dispatch>(&value.device()).bool_dtype
}

pub fn add(a: Value, b: Value) -> Value {
    Dispatch::float_add(a, b)
}

pub fn mul(a: Value, b: Value) -> Value {
    Dispatch::float_mul(a, b)
}

pub fn plus(value: Value, number: f32) -> Value {
    Dispatch::float_add_scalar(value, number.into())
}

pub fn times(value: Value, number: f32) -> Value {
    Dispatch::float_mul_scalar(value, number.into())
}

/// Numbers of the host as a value on the device of another.
pub fn constant_like(value: &Value, numbers: Vec<f32>, shape: &[usize]) -> Value {
    let data = burn::tensor::TensorData::new(numbers, shape.to_vec());
    Dispatch::float_from_data(data, &value.device())
}

/// The mean over one axis, which stays with a size of 1.
pub fn mean(value: Value, axis: usize) -> Value {
    Dispatch::float_mean_dim(value, axis)
}
