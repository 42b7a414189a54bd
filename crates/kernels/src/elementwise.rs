//! Activation functions whose gradient needs their input, and sums, over slices of any shape.
//!
//! Each is one pass over memory. The exponential is computed in plain arithmetic that the compiler
//! vectorizes at every level, by the reduction to `[-ln 2 / 2, ln 2 / 2]` and the polynomial of
//! Cephes (Moshier, "Methods and Programs for Mathematical Functions", 1989): its relative error is
//! below 2e-7 where the result is a normal number.

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};
use std::ops::Range;

use crate::epilogue::{Activation, for_activation};
use crate::parallel::{self, Shared, share};
use crate::simd::FUSED;
use crate::simd_level::{SimdLevel, multiversioned};

/// An activation function of single elements.
///
/// Errors are relative to `max(|f(x)|, 1e-30)`, for inputs in [-80, 80], and below 1e-6 except where
/// stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Elementwise {
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `x · sigmoid(x)`, also called swish.
    Silu,
    /// `min(max(x + 3, 0), 6) / 6`, with an absolute error below 1e-6: near -3, the sum keeps few
    /// digits.
    HardSigmoid,
    /// `x · min(max(x + 3, 0), 6) / 6`, with an error relative to `x` below 1e-6.
    HardSwish,
    /// `x · Φ(x)` with Φ the normal distribution (the `erf` form). Its error relative to `x` is below
    /// 1e-6; that relative to the result grows like `x² · 1e-7` for negative inputs.
    Gelu,
    /// `x / 2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))`, an approximation of [`Elementwise::Gelu`]. Its
    /// error relative to `x` is below 1e-6.
    GeluTanh,
}

/// `output = function(input)`, element by element.
///
/// # Panics
///
/// When the slices differ in length.
pub fn elementwise_forward(function: Elementwise, input: &[f32], output: &mut [f32]) {
    assert_eq!(input.len(), output.len(), "elementwise: output");
    let level = SimdLevel::current();
    let threads = function.threads(output.len());
    in_parallel(threads, output, |range, output| {
        forward(level, function, &input[range], output);
    });
}

/// `to = gradient · function'(input)`, element by element: the gradient of
/// [`elementwise_forward`]'s input from that of its output.
///
/// # Panics
///
/// When the slices differ in length.
pub fn elementwise_backward(
    function: Elementwise,
    input: &[f32],
    gradient: &[f32],
    to: &mut [f32],
) {
    assert_eq!(
        (input.len(), gradient.len()),
        (to.len(), to.len()),
        "elementwise: lengths"
    );
    let level = SimdLevel::current();
    in_parallel(function.threads(to.len()), to, |range, to| {
        backward(level, function, &input[range.clone()], &gradient[range], to);
    });
}

/// `output = activation(a + b)`, element by element: a residual connection. The gradient of both
/// addends is [`activation_gradient`](crate::activation_gradient).
///
/// # Panics
///
/// When the slices differ in length.
pub fn add(activation: Activation, a: &[f32], b: &[f32], output: &mut [f32]) {
    assert_eq!(
        (a.len(), b.len()),
        (output.len(), output.len()),
        "add: lengths"
    );
    let level = SimdLevel::current();
    let threads = parallel::threads_for_light(output.len());
    in_parallel(threads, output, |range, output| {
        sum(level, activation, &a[range.clone()], &b[range], output);
    });
}

/// Integers that stand for real numbers: `real = (integer - zero) * scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steps {
    /// The step, above 0.
    pub scale: f32,
    /// The integer that stands for 0.
    pub zero: i32,
    /// The least integer and the greatest, less than 2^22 from `zero`.
    pub ends: [i32; 2],
}

/// `output`: the real numbers that the nearest integers stand for, as `QuantizeLinear` and `DequantizeLinear` of ONNX
/// give them one after the other: halves to the even integer, beyond the ends the end. NaN stays NaN.
///
/// # Panics
///
/// When the slices differ in length.
pub fn round_to_steps(steps: Steps, input: &[f32], output: &mut [f32]) {
    assert_eq!(input.len(), output.len(), "steps: output");
    let level = SimdLevel::current();
    let threads = parallel::threads_for_light(output.len());
    in_parallel(threads, output, |range, output| {
        rounded(level, steps, &input[range], output);
    });
}

multiversioned! {
    fn rounded(steps: Steps, input: &[f32], output: &mut [f32]) = rounded_body
}

#[inline(always)]
fn rounded_body(steps: Steps, input: &[f32], output: &mut [f32]) {
    // Added to a number below 2^22, it leaves no bits for a fraction: the sum is rounded to the nearest integer,
    // halves to even.
    const INTEGERS: f32 = 12_582_912.0;
    let Steps { scale, zero, ends } = steps;
    let [low, high] = ends.map(|end| (end - zero) as f32);
    for (to, &value) in output.iter_mut().zip(input) {
        let value = value / scale;
        let value = if value < low { low } else { value };
        let value = if value > high { high } else { value };
        *to = ((value + INTEGERS) - INTEGERS) * scale;
    }
}

impl Elementwise {
    /// Threads for so many elements: an exponential is work.
    fn threads(self, elements: usize) -> usize {
        match self {
            Self::Sigmoid | Self::Silu | Self::Gelu | Self::GeluTanh => {
                parallel::threads_for(elements)
            }
            Self::HardSigmoid | Self::HardSwish => parallel::threads_for_light(elements),
        }
    }
}

/// Runs `work(range, its part of output)` for each task's range.
fn in_parallel(threads: usize, output: &mut [f32], work: impl Fn(Range<usize>, &mut [f32]) + Sync) {
    let length = output.len();
    let output = Shared::new(output);
    parallel::tasks(threads, |task, tasks| {
        let range = share(length, task, tasks);
        // SAFETY: each range is one task's.
        let output = unsafe { output.slice(range.start, range.len()) };
        work(range, output);
    });
}

multiversioned! {
    fn sum(activation: Activation, a: &[f32], b: &[f32], output: &mut [f32]) = sum_body
}

#[inline(always)]
fn sum_body(activation: Activation, a: &[f32], b: &[f32], output: &mut [f32]) {
    for_activation!(activation, ACTIVATION => {
        for ((to, &a), &b) in output.iter_mut().zip(a).zip(b) {
            *to = ACTIVATION.apply(a + b);
        }
    });
}

/// Whether the loops at `level` have a fused multiply-add: elsewhere it is a slow library call.
pub(crate) fn is_fused(level: SimdLevel) -> bool {
    match level {
        SimdLevel::Portable => FUSED,
        SimdLevel::Avx2 | SimdLevel::Avx512 => true,
    }
}

/// `a * b + c`, rounded once if `F`.
#[inline(always)]
fn multiply_add<const F: bool>(a: f32, b: f32, c: f32) -> f32 {
    if F { a.mul_add(b, c) } else { a * b + c }
}

fn forward(level: SimdLevel, function: Elementwise, input: &[f32], output: &mut [f32]) {
    if is_fused(level) {
        forward_fused(level, function, input, output);
    } else {
        forward_unfused(level, function, input, output);
    }
}

multiversioned! {
    fn forward_fused(function: Elementwise, input: &[f32], output: &mut [f32]) = forward_body::<true>
}

multiversioned! {
    fn forward_unfused(function: Elementwise, input: &[f32], output: &mut [f32]) = forward_body::<false>
}

#[inline(always)]
fn forward_body<const F: bool>(function: Elementwise, input: &[f32], output: &mut [f32]) {
    match function {
        Elementwise::Sigmoid => map(input, output, sigmoid::<F>),
        Elementwise::Silu => map(input, output, |x| x * sigmoid::<F>(x)),
        Elementwise::HardSigmoid => map(input, output, hard_sigmoid),
        Elementwise::HardSwish => map(input, output, |x| x * hard_sigmoid(x)),
        Elementwise::Gelu => map(input, output, |x| x * normal_distribution::<F>(x)),
        Elementwise::GeluTanh => {
            map(input, output, |x| x * sigmoid::<F>(gelu_exponent::<F>(x)));
        }
    }
}

#[inline(always)]
fn map(input: &[f32], output: &mut [f32], function: impl Fn(f32) -> f32) {
    for (to, &x) in output.iter_mut().zip(input) {
        *to = function(x);
    }
}

fn backward(
    level: SimdLevel,
    function: Elementwise,
    input: &[f32],
    gradient: &[f32],
    to: &mut [f32],
) {
    if is_fused(level) {
        backward_fused(level, function, input, gradient, to);
    } else {
        backward_unfused(level, function, input, gradient, to);
    }
}

multiversioned! {
    fn backward_fused(function: Elementwise, input: &[f32], gradient: &[f32], to: &mut [f32]) =
        backward_body::<true>
}

multiversioned! {
    fn backward_unfused(function: Elementwise, input: &[f32], gradient: &[f32], to: &mut [f32]) =
        backward_body::<false>
}

#[inline(always)]
fn backward_body<const F: bool>(
    function: Elementwise,
    input: &[f32],
    gradient: &[f32],
    to: &mut [f32],
) {
    match function {
        Elementwise::Sigmoid => map_gradient(input, gradient, to, |x| {
            // Symmetric, and exact in both tails.
            let e = exp::<F>(-x.abs());
            e / ((1.0 + e) * (1.0 + e))
        }),
        Elementwise::Silu => map_gradient(input, gradient, to, |x| {
            let s = sigmoid::<F>(x);
            s * (1.0 + x * (1.0 - s))
        }),
        Elementwise::HardSigmoid => map_gradient(input, gradient, to, |x| {
            if x > -3.0 && x < 3.0 { 1.0 / 6.0 } else { 0.0 }
        }),
        Elementwise::HardSwish => map_gradient(input, gradient, to, |x| {
            let inside = x * (1.0 / 3.0) + 0.5;
            let above = if x < 3.0 { inside } else { 1.0 };
            if x > -3.0 { above } else { 0.0 }
        }),
        Elementwise::Gelu => map_gradient(input, gradient, to, |x| {
            /// 1 / √(2π).
            const DENSITY: f32 = 0.398_942_3;
            multiply_add::<F>(
                x * DENSITY,
                exp::<F>(-0.5 * x * x),
                normal_distribution::<F>(x),
            )
        }),
        Elementwise::GeluTanh => map_gradient(input, gradient, to, |x| {
            let s = sigmoid::<F>(gelu_exponent::<F>(x));
            let slope = GELU_SCALE * (1.0 + 3.0 * GELU_CUBE * x * x);
            // 1 - s is 0 long before the slope overflows.
            let steep = if x.abs() < 1e4 { x * slope } else { 0.0 };
            s + steep * s * (1.0 - s)
        }),
    }
}

#[inline(always)]
fn map_gradient(input: &[f32], gradient: &[f32], to: &mut [f32], derivative: impl Fn(f32) -> f32) {
    for ((to, &x), &gradient) in to.iter_mut().zip(input).zip(gradient) {
        *to = gradient * derivative(x);
    }
}

/// `exp(x)`: 0 below -104, infinity above 88.73, NaN staying NaN.
#[inline(always)]
pub(crate) fn exp<const F: bool>(x: f32) -> f32 {
    /// ln 2 in two parts, the first with so few bits that its product with an exponent is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    /// Adding it rounds to an integer, which the low bits of the sum then are.
    const ROUND: f32 = 12_582_912.0;
    let x = if x < -104.0 { -104.0 } else { x };
    let x = if x > 89.0 { 89.0 } else { x };
    let shifted = multiply_add::<F>(x, LOG2_E, ROUND);
    let exponent = shifted - ROUND;
    let r = multiply_add::<F>(exponent, -LN_2[0], x);
    let r = multiply_add::<F>(exponent, -LN_2[1], r);
    let mut polynomial = 1.987_569_1e-4_f32;
    for coefficient in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ] {
        polynomial = multiply_add::<F>(polynomial, r, coefficient);
    }
    let mantissa = multiply_add::<F>(polynomial, r * r, r) + 1.0;
    // In two factors, since 2^128 and 2^-150 are no normal numbers.
    let exponent = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = exponent >> 1;
    mantissa * power_of_two(half) * power_of_two(exponent.wrapping_sub(half))
}

/// `2^exponent`, for an exponent of a normal number.
#[inline(always)]
fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits((exponent.wrapping_add(127) as u32) << 23)
}

#[inline(always)]
fn sigmoid<const F: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<F>(-x))
}

#[inline(always)]
fn hard_sigmoid(x: f32) -> f32 {
    Activation::Relu6.apply(x + 3.0) * (1.0 / 6.0)
}

/// 2 √(2/π): `(1 + tanh(u)) / 2 = sigmoid(2 u)`.
const GELU_SCALE: f32 = 1.595_769;

const GELU_CUBE: f32 = 0.044_715;

#[inline(always)]
fn gelu_exponent<const F: bool>(x: f32) -> f32 {
    GELU_SCALE * (x + GELU_CUBE * x * x * x)
}

/// Φ(x), by `erfc` of the absolute value, so that the lower tail keeps its digits: "Numerical
/// Recipes in C" (Press et al., 1992), §6.2, with a relative error of 1.2e-7 before rounding.
#[inline(always)]
fn normal_distribution<const F: bool>(x: f32) -> f32 {
    let z = x.abs() * FRAC_1_SQRT_2;
    let t = 1.0 / multiply_add::<F>(0.5, z, 1.0);
    let mut polynomial = 0.170_872_77_f32;
    for coefficient in [
        -0.822_152_23,
        1.488_515_9,
        -1.135_204,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_7,
        -1.265_512_2,
    ] {
        polynomial = multiply_add::<F>(polynomial, t, coefficient);
    }
    let tail = 0.5 * t * exp::<F>(multiply_add::<F>(-0.5 * x, x, polynomial));
    if x < 0.0 { tail } else { 1.0 - tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Elementwise; 6] = [
        Elementwise::Sigmoid,
        Elementwise::Silu,
        Elementwise::HardSigmoid,
        Elementwise::HardSwish,
        Elementwise::Gelu,
        Elementwise::GeluTanh,
    ];

    /// Φ(x) by the series of Kummer's function, whose terms are all positive, or by a continued
    /// fraction in the tails.
    fn phi(x: f64) -> f64 {
        let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
        if x.abs() > 4.0 {
            let fraction = (1..200)
                .rev()
                .fold(x.abs(), |rest, k| x.abs() + f64::from(k) / rest);
            let tail = density / fraction;
            return if x < 0.0 { tail } else { 1.0 - tail };
        }
        let (mut term, mut sum) = (x, x);
        for k in 1..200 {
            term *= x * x / f64::from(2 * k + 1);
            sum += term;
        }
        0.5 + density * sum
    }

    fn definition(function: Elementwise, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        match function {
            Elementwise::Sigmoid => sigmoid(x),
            Elementwise::Silu => x * sigmoid(x),
            Elementwise::HardSigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Elementwise::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Elementwise::Gelu => x * phi(x),
            Elementwise::GeluTanh => {
                let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
                // (1 + tanh u) / 2, without its cancellation.
                x * sigmoid(2.0 * u)
            }
        }
    }

    /// Numbers all over the range, dense around 0, without the ends of the hard functions.
    fn inputs() -> Vec<f32> {
        let mut inputs: Vec<f32> = (-40_000..40_000)
            .map(|i| i as f32 * 1.999e-3)
            .chain((-9000..9000).map(|i| i as f32 * 7.77e-4))
            .collect();
        inputs.retain(|x| (x.abs() - 3.0).abs() > 1e-2);
        inputs
    }

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        exp_is_exact(exp::<true>);
        exp_is_exact(exp::<false>);
    }

    fn exp_is_exact(exp: fn(f32) -> f32) {
        let mut worst = 0.0_f64;
        for i in -870_000..887_000 {
            let x = i as f32 * 1e-4;
            let expected = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - expected).abs() / expected);
        }
        assert!(worst < 2e-7, "{worst}");
        assert!(exp(-200.0).abs() < 1e-44);
        assert!(exp(-95.0) > 0.0);
        assert!(exp(90.0).is_infinite());
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::INFINITY).is_infinite());
        assert!(exp(f32::NEG_INFINITY).abs() < 1e-44);
    }

    #[test]
    fn functions_are_their_definitions() {
        let inputs = inputs();
        for level in SimdLevel::available() {
            for function in ALL {
                let mut output = vec![f32::NAN; inputs.len()];
                SimdLevel::scope(level, || {
                    elementwise_forward(function, &inputs, &mut output);
                });
                for (&x, &y) in inputs.iter().zip(&output) {
                    let expected = definition(function, f64::from(x));
                    let scale = match function {
                        Elementwise::Gelu | Elementwise::GeluTanh => f64::from(x.abs()),
                        Elementwise::Sigmoid
                        | Elementwise::Silu
                        | Elementwise::HardSigmoid
                        | Elementwise::HardSwish => expected.abs().max(1e-30),
                    };
                    // The input itself has been rounded where it is added to 3.
                    let rounding = match function {
                        Elementwise::HardSigmoid | Elementwise::HardSwish => 1e-6,
                        Elementwise::Sigmoid
                        | Elementwise::Silu
                        | Elementwise::Gelu
                        | Elementwise::GeluTanh => 0.0,
                    };
                    let error = (f64::from(y) - expected).abs();
                    assert!(
                        error <= 1e-6 * scale + rounding * f64::from(x.abs()),
                        "{level:?} {function:?}({x}) = {y}, not {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn gradients_are_differences() {
        let inputs = inputs();
        let gradient: Vec<f32> = (0..inputs.len()).map(|i| (i % 7) as f32 - 3.0).collect();
        for level in SimdLevel::available() {
            for function in ALL {
                let mut to = vec![f32::NAN; inputs.len()];
                SimdLevel::scope(level, || {
                    elementwise_backward(function, &inputs, &gradient, &mut to);
                });
                for ((&x, &g), &found) in inputs.iter().zip(&gradient).zip(&to) {
                    let (x, step) = (f64::from(x), 1e-5);
                    let difference =
                        definition(function, x + step) - definition(function, x - step);
                    let expected = f64::from(g) * difference / (2.0 * step);
                    assert!(
                        (f64::from(found) - expected).abs() < 1e-5,
                        "{level:?} {function:?}'({x}) · {g} = {found}, not {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn extreme_inputs_give_limits() {
        let inputs = [-1e30, -200.0, 200.0, 1e30];
        for function in ALL {
            let (mut output, mut to) = ([f32::NAN; 4], [f32::NAN; 4]);
            elementwise_forward(function, &inputs, &mut output);
            elementwise_backward(function, &inputs, &[1.0; 4], &mut to);
            for (value, name) in [(output, "value"), (to, "gradient")] {
                assert!(
                    value.iter().all(|x| x.is_finite()),
                    "{function:?} {name}: {value:?}"
                );
                assert!(value[0].abs() < 1e-20, "{function:?} {name}: {value:?}");
                assert!(value[2] >= 0.0, "{function:?} {name}: {value:?}");
            }
        }
    }

    #[test]
    fn steps_are_those_of_onnx() {
        let steps = Steps {
            scale: 0.5,
            zero: 3,
            ends: [0, 255],
        };
        let input = [
            0.0,
            0.25,
            0.74,
            0.75,
            -0.25,
            -0.75,
            -1.5,
            -9.0,
            126.0,
            126.2,
            1e30,
            f32::INFINITY,
            f32::NEG_INFINITY,
        ];
        let expected = [
            0.0, 0.0, 0.5, 1.0, 0.0, -1.0, -1.5, -1.5, 126.0, 126.0, 126.0, 126.0, -1.5,
        ];
        for level in SimdLevel::available() {
            SimdLevel::scope(level, || {
                let mut output = [f32::NAN; 13];
                round_to_steps(steps, &input, &mut output);
                assert_eq!(output.map(f32::to_bits), expected.map(f32::to_bits));
                round_to_steps(steps, &[f32::NAN; 13], &mut output);
                assert!(output.iter().all(|value| value.is_nan()));
            });
        }
    }

    #[test]
    fn a_sum_is_activated() {
        let (a, b): (Vec<f32>, Vec<f32>) = (0..50_000)
            .map(|i| (i as f32 * 1e-3, i as f32 * -7e-4 - 1.0))
            .unzip();
        for activation in [Activation::Linear, Activation::Relu, Activation::Relu6] {
            for level in SimdLevel::available() {
                let mut output = vec![f32::NAN; a.len()];
                SimdLevel::scope(level, || add(activation, &a, &b, &mut output));
                for ((&a, &b), &found) in a.iter().zip(&b).zip(&output) {
                    assert_eq!(found.to_bits(), activation.apply(a + b).to_bits());
                }
            }
        }
    }
}
