//! Normalizations and statistics over axes.

use burn::backend::Dispatch;
use burn::backend::TensorMetadata;
use burn::backend::ops::{FloatTensorOps, ModuleOps};
use burn::tensor::ops::PadMode as Padding;
use kiln_model::graph::{Lrn, Reduction};

use super::value::{
    Value, add, aligned, answers, dims, mean, mul, per_channel, plus, rank, reshape, times,
};

/// Normalizes over the axes from `axis` on.
pub fn layer(x: Value, axis: usize, epsilon: f32, scale: Value, bias: Option<Value>) -> Value {
    let shape = dims(&x);
    let inner = shape[axis..].iter().product();
    let normalized = reshape(standardized(x, inner, epsilon), &shape);
    let [normalized, scale] = aligned(normalized, scale);
    let scaled = mul(normalized, scale);
    match bias {
        Some(bias) => {
            let [scaled, bias] = aligned(scaled, bias);
            add(scaled, bias)
        }
        None => scaled,
    }
}

/// Normalizes each of so many groups of channels of each image.
pub fn groups(x: Value, groups: usize, epsilon: f32, scale: Value, bias: Value) -> Value {
    let shape = dims(&x);
    let inner = shape[1..].iter().product::<usize>() / groups;
    let normalized = reshape(standardized(x, inner, epsilon), &shape);
    let [scale, bias] = [scale, bias].map(|values| per_channel(values, shape.len()));
    add(mul(normalized, scale), bias)
}

/// Rows of `inner` numbers, each with a mean of 0 and a variance of 1.
fn standardized(x: Value, inner: usize, epsilon: f32) -> Value {
    let rows = x.shape().num_elements() / inner;
    let x = reshape(x, &[rows, inner]);
    let centered = Dispatch::float_sub(x.clone(), mean(x, 1));
    let variance = mean(mul(centered.clone(), centered.clone()), 1);
    Dispatch::float_div(centered, Dispatch::float_sqrt(plus(variance, epsilon)))
}

/// Normalizes each channel by statistics that are given.
pub fn batch(x: Value, [scale, bias, mean, variance]: [Value; 4], epsilon: f32) -> Value {
    Dispatch::batch_norm(x, scale, bias, mean, variance, f64::from(epsilon))
}

/// Local response normalization: the mean over channels is that of an average pooling along them.
pub fn local_response(settings: Lrn, x: Value) -> Value {
    let shape = dims(&x);
    let Lrn {
        alpha,
        beta,
        bias,
        size,
    } = settings;
    let rest = shape[2..].iter().product();
    let squares = reshape(mul(x.clone(), x.clone()), &[shape[0], 1, shape[1], rest]);
    let before = (size - 1) / 2;
    let pads = [(0, 0), (0, 0), (before, size - 1 - before), (0, 0)];
    let squares = Dispatch::float_pad(squares, &pads, Padding::Constant(0.0));
    let means = Dispatch::avg_pool2d(squares, [size, 1], [1, 1], [0, 0], true, false);
    let divisor = plus(times(reshape(means, &shape), alpha), bias);
    mul(x, Dispatch::float_powf_scalar(divisor, (-beta).into()))
}

/// A statistic over axes, which stay with a size of 1.
pub fn reduce(reduction: Reduction, axes: &[usize], x: Value) -> Value {
    let each = |x: Value, step: fn(Value, usize) -> Value| {
        axes.iter().fold(x, |value, &axis| step(value, axis))
    };
    match reduction {
        Reduction::Mean => each(x, mean),
        Reduction::Sum => each(x, Dispatch::float_sum_dim),
        Reduction::Max => each(x, Dispatch::float_max_dim),
        Reduction::Min => each(x, Dispatch::float_min_dim),
        Reduction::L2 => root(each(mul(x.clone(), x), Dispatch::float_sum_dim)),
    }
}

/// The root, with a gradient of 0 at 0: the infinite one would make NaN of a norm's gradient.
fn root(squares: Value) -> Value {
    let answers = answers(&squares);
    let zero = Dispatch::float_equal_elem(squares.clone(), 0_f32.into(), answers);
    let squares = Dispatch::float_mask_fill(squares, zero.clone(), 1_f32.into());
    Dispatch::float_mask_fill(Dispatch::float_sqrt(squares), zero, 0_f32.into())
}

/// The mean or maximum of each channel, with axes of size 1 for rows and columns.
pub fn globally(reduction: Reduction, x: Value) -> Value {
    let shape = dims(&x);
    let pixels = shape[2..].iter().product();
    let reduced = reduce(reduction, &[2], reshape(x, &[shape[0], shape[1], pixels]));
    let mut kept = vec![1; shape.len()];
    kept[..2].copy_from_slice(&shape[..2]);
    reshape(reduced, &kept)
}

/// The statistics of each channel over a batch, with the normalized value.
pub fn live_batch(x: Value, scale: Value, bias: Value, epsilon: f32) -> (Value, [Value; 2]) {
    debug_assert!(rank(&x) > 1, "checked when the layer was built");
    let found = Dispatch::batch_norm_train(x, scale, bias, f64::from(epsilon));
    (found.output, [found.mean, found.variance])
}
