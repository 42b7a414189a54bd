//! Batch normalization, pooling and dropout against their definitions in f64.

mod common;

use common::{Sum, assert_close, assert_close_sums, at_each_level, numbers, with_threads};
use kiln_kernels::{
    Activation, Conv2d, Conv2dGradients, Dropout, Norm, NormPool, NormPoolGradient, NormPoolShape,
    NormPoolState, NormPoolSteps, OutputGradient, Pool2d, Statistics, conv2d_backward, dropout,
    norm_pool_forward,
};
use proptest::prelude::*;

const EPSILON: f32 = 1e-3;

/// The elements of each output's window that lie in the image, in scan order.
fn windows(s: &NormPoolShape) -> Vec<Vec<usize>> {
    let [rows, columns] = s.output();
    let mut windows = Vec::new();
    for n in 0..s.batch {
        for (oy, ox) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
            for c in 0..s.channels {
                let element =
                    |y: usize, x: usize| ((n * s.height + y) * s.width + x) * s.channels + c;
                let [down, across] = s.pool.stride;
                let all =
                    (0..s.pool.window[0]).flat_map(|y| (0..s.pool.window[1]).map(move |x| (y, x)));
                let [top, left, ..] = s.pool.padding;
                let places = all
                    .map(|(y, x)| (oy * down + y, ox * across + x))
                    .filter(|(y, x)| {
                        (top..top + s.height).contains(y) && (left..left + s.width).contains(x)
                    });
                windows.push(places.map(|(y, x)| element(y - top, x - left)).collect());
            }
        }
    }
    windows
}

/// The definition, forward and backward.
struct Expected {
    mean: Vec<f64>,
    variance: Vec<f64>,
    output: Vec<f64>,
    to_input: Vec<f64>,
    /// That before the activation.
    to_residual: Vec<f64>,
    to_gamma: Vec<Sum>,
    to_beta: Vec<Sum>,
}

#[derive(Clone)]
struct Case {
    shape: NormPoolShape,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    input: Vec<f32>,
    gradient: Vec<f32>,
    running: Option<(Vec<f32>, Vec<f32>)>,
    residual: Option<Vec<f32>>,
    activation: Activation,
    /// Dropout's factors: 0 or the scale.
    kept: Vec<f32>,
}

/// Least and greatest value of an activation.
fn range(activation: Activation) -> [f64; 2] {
    match activation {
        Activation::Linear => [f64::NEG_INFINITY, f64::INFINITY],
        Activation::Relu => [0.0, f64::INFINITY],
        Activation::Relu6 => [0.0, 6.0],
    }
}

impl Case {
    fn expected(&self) -> Expected {
        let (s, channels) = (&self.shape, self.shape.channels);
        let count = (s.input_len() / channels) as f64;
        let by_channel = |values: &mut dyn Iterator<Item = (usize, f64)>| {
            let mut sums = vec![Sum::default(); channels];
            values.for_each(|(i, value)| sums[i % channels].add(value));
            sums
        };
        let x: Vec<f64> = self.input.iter().map(|&x| f64::from(x)).collect();
        let doubles = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        let (mean, variance) = if let Some((mean, variance)) = &self.running {
            (doubles(mean), doubles(variance))
        } else {
            let sums = by_channel(&mut x.iter().copied().enumerate());
            let mean: Vec<f64> = sums.iter().map(|sum| sum.value / count).collect();
            let squares = by_channel(
                &mut x
                    .iter()
                    .enumerate()
                    .map(|(i, x)| (i, (x - mean[i % channels]).powi(2))),
            );
            (mean, squares.iter().map(|sum| sum.value / count).collect())
        };
        let inverse: Vec<f64> = variance
            .iter()
            .map(|v| 1.0 / (v + f64::from(EPSILON)).sqrt())
            .collect();
        let normal: Vec<f64> = x
            .iter()
            .enumerate()
            .map(|(i, x)| (x - mean[i % channels]) * inverse[i % channels])
            .collect();
        let gamma = |i: usize| f64::from(self.gamma[i % channels]);
        let residual = |i: usize| {
            self.residual
                .as_ref()
                .map_or(0.0, |residual| f64::from(residual[i]))
        };
        let affine =
            |i: usize| normal[i] * gamma(i) + f64::from(self.beta[i % channels]) + residual(i);
        let [least, greatest] = range(self.activation);
        let mut output = Vec::new();
        let mut d = vec![0.0; x.len()];
        for ((window, &kept), &gradient) in windows(s).iter().zip(&self.kept).zip(&self.gradient) {
            let best = window
                .iter()
                .copied()
                .reduce(|best, i| if affine(i) > affine(best) { i } else { best });
            let best = best.expect("a window has elements");
            let value = affine(best);
            output.push(value.clamp(least, greatest) * f64::from(kept));
            if value > least && value < greatest {
                d[best] += f64::from(gradient) * f64::from(kept);
            }
        }
        let to_beta = by_channel(&mut d.iter().copied().enumerate());
        let to_gamma = by_channel(&mut d.iter().zip(&x).enumerate().flat_map(|(i, (d, x))| {
            let scaled = d * inverse[i % channels];
            [(i, scaled * x), (i, -scaled * mean[i % channels])]
        }));
        let of_batch = if self.running.is_none() {
            1.0 / count
        } else {
            0.0
        };
        let to_input = d.iter().enumerate().map(|(i, d)| {
            let c = i % channels;
            gamma(i)
                * inverse[c]
                * (d - of_batch * (to_beta[c].value + normal[i] * to_gamma[c].value))
        });
        Expected {
            to_input: to_input.collect(),
            to_residual: d.clone(),
            mean,
            variance,
            output,
            to_gamma,
            to_beta,
        }
    }

    /// Whether no output before dropout is within rounding of an end of the activation's range
    /// without lying on it.
    fn clear_of_the_ends(&self) -> bool {
        let linear = Case {
            activation: Activation::Linear,
            kept: vec![1.0; self.kept.len()],
            ..self.clone()
        };
        let ends = range(self.activation);
        let outputs = linear.expected().output;
        outputs
            .iter()
            .all(|output| ends.iter().all(|end| (output - end).abs() > 1e-5))
    }

    fn check(&self, drop: Option<&Dropout>) {
        let s = &self.shape;
        let expected = self.expected();
        let statistics = match &self.running {
            Some((mean, variance)) => Statistics::Running { mean, variance },
            None => Statistics::Batch,
        };
        let norm = Norm {
            gamma: &self.gamma,
            beta: &self.beta,
            epsilon: EPSILON,
            statistics,
        };
        let mut state = NormPoolState::default();
        let mut output = vec![f32::NAN; s.output_len()];
        let steps = NormPoolSteps {
            norm: Some(norm),
            residual: self.residual.as_deref(),
            activation: self.activation,
            dropout: drop.copied(),
        };
        norm_pool_forward(s, &steps, &self.input, &mut output, &mut state);
        assert_close("mean", &state.mean, &expected.mean);
        assert_close("variance", &state.variance, &expected.variance);
        assert_close("output", &output, &expected.output);

        let gradient =
            NormPoolGradient::new(s, Some(&self.gamma), &self.input, &state, &self.gradient);
        let mut to_input = vec![f32::NAN; s.input_len()];
        let (mut to_gamma, mut to_beta) = (vec![f32::NAN; s.channels], vec![f32::NAN; s.channels]);
        gradient.write(&mut to_input);
        gradient.write_parameters(&mut to_gamma, &mut to_beta);
        if s.pool == Pool2d::square(1) {
            let mut to_residual = vec![f32::NAN; s.input_len()];
            gradient.write_residual(&mut to_residual);
            assert_close("residual gradient", &to_residual, &expected.to_residual);
        }
        assert_close("input gradient", &to_input, &expected.to_input);
        assert_close_sums("gamma's gradient", &to_gamma, &expected.to_gamma);
        assert_close_sums("beta's gradient", &to_beta, &expected.to_beta);
    }
}

fn any_shape() -> impl Strategy<Value = NormPoolShape> {
    let sizes = (1_usize..5, 1_usize..12, 1_usize..12, 1_usize..40);
    let padding = prop_oneof![Just([0; 4]), [0_usize..3, 0..3, 0..3, 0..3]];
    (sizes, [1_usize..4, 1..4], [1_usize..4, 1..4], padding).prop_filter_map(
        "fits",
        |((batch, height, width, channels), window, stride, padding)| {
            NormPool {
                batch,
                height,
                width,
                channels,
                pool: Pool2d {
                    window,
                    stride,
                    padding,
                },
            }
            .checked()
            .ok()
        },
    )
}

fn without_pooling(shape: NormPoolShape) -> NormPoolShape {
    NormPool {
        pool: Pool2d::square(1),
        ..*shape
    }
    .checked()
    .expect("a valid shape")
}

fn any_activation() -> impl Strategy<Value = Activation> {
    prop_oneof![
        Just(Activation::Linear),
        Just(Activation::Relu),
        Just(Activation::Relu6)
    ]
}

/// All values of a case differ by more than rounding, so that every maximum is sure.
fn distinct(seed: u64, count: usize) -> Vec<f32> {
    let mut order: Vec<(u32, usize)> = numbers(seed, count)
        .iter()
        .map(|x| x.to_bits())
        .zip(0..)
        .collect();
    order.sort_unstable();
    let mut values = vec![0.0; count];
    for (rank, (_, i)) in order.into_iter().enumerate() {
        values[i] = rank as f32 / count as f32 * 4.0 - 1.5;
    }
    values
}

proptest! {
    #[test]
    fn the_fused_operation_is_its_definition(
        shape in prop_oneof![any_shape(), any_shape().prop_map(without_pooling)], running: bool, activation in any_activation(), residual: bool, rate in prop_oneof![Just(None), Just(Some(0.5)), Just(Some(0.2))], seed in 1_u64..1000,
    ) {
        // A variance of next to nothing makes gradients that are differences of nearly equal
        // numbers.
        prop_assume!(running || shape.batch * shape.height * shape.width >= 8);
        let drop = rate.map(|rate| Dropout::new(rate, seed, 3).expect("a valid rate"));
        let mut kept = vec![1.0; shape.output_len()];
        if let Some(drop) = &drop {
            dropout(drop, &vec![1.0; kept.len()], &mut kept);
        }
        let channels = shape.channels;
        let case = Case {
            // Many values beyond the 6 of `ReLU6`.
            gamma: numbers(seed, channels).iter().map(|x| 8.0 * x).collect(),
            beta: numbers(seed + 1, channels),
            input: distinct(seed + 2, shape.input_len()),
            gradient: numbers(seed + 3, shape.output_len()),
            running: running.then(|| (numbers(seed + 4, channels), numbers(seed + 5, channels).iter().map(|x| x.abs() + 0.1).collect())),
            residual: (residual && shape.pool == Pool2d::square(1)).then(|| numbers(seed + 6, shape.input_len())),
            activation,
            kept,
            shape,
        };
        // Values that rounding can move over an end of the activation's range prove nothing.
        prop_assume!(case.clear_of_the_ends());
        at_each_level(|_| case.check(drop.as_ref()));
        with_threads(3, || case.check(drop.as_ref()));
    }
}

#[test]
fn a_window_of_padding_alone_is_refused() {
    let pool = Pool2d {
        padding: [0, 2, 0, 0],
        ..Pool2d::square(2)
    };
    let error = NormPool {
        batch: 1,
        height: 4,
        width: 4,
        channels: 1,
        pool,
    }
    .checked()
    .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("a padding of 2 columns must be less than the window of 2"),
        "{error}"
    );
}

/// Normalization alone.
fn steps(norm: Norm<'_>) -> NormPoolSteps<'_> {
    NormPoolSteps {
        norm: Some(norm),
        ..NormPoolSteps::default()
    }
}

fn small() -> NormPoolShape {
    NormPool {
        batch: 1,
        height: 2,
        width: 2,
        channels: 1,
        pool: Pool2d::square(2),
    }
    .checked()
    .expect("a valid shape")
}

#[test]
fn the_first_of_equal_maxima_takes_the_gradient() {
    at_each_level(|_| {
        let (mut output, mut state, mut to_input) = ([0.0], NormPoolState::default(), [9.0; 4]);
        let input = [1.0, 3.0, 3.0, 3.0];
        norm_pool_forward(
            &small(),
            &NormPoolSteps::default(),
            &input,
            &mut output,
            &mut state,
        );
        NormPoolGradient::new(&small(), None, &input, &state, &[5.0]).write(&mut to_input);
        assert_eq!((output, to_input), ([3.0], [0.0, 5.0, 0.0, 0.0]));
    });
}

#[test]
fn a_negative_gamma_makes_the_smallest_input_the_maximum() {
    let (mean, variance) = (&[0.0][..], &[1.0 - EPSILON][..]);
    let statistics = Statistics::Running { mean, variance };
    let norm = Norm {
        gamma: &[-2.0],
        beta: &[1.0],
        epsilon: EPSILON,
        statistics,
    };
    let (mut output, mut state) = ([0.0], NormPoolState::default());
    norm_pool_forward(
        &small(),
        &steps(norm),
        &[4.0, -3.0, 2.0, 0.0],
        &mut output,
        &mut state,
    );
    assert!((output[0] - 7.0).abs() < 1e-5, "{output:?}");
}

#[test]
fn values_that_normalization_rounds_to_the_same_number_keep_their_order() {
    let statistics = Statistics::Running {
        mean: &[0.0],
        variance: &[1.0 - EPSILON],
    };
    let norm = Norm {
        gamma: &[1e-9],
        beta: &[1.0],
        epsilon: EPSILON,
        statistics,
    };
    let (mut output, mut state, mut to_gamma, mut to_beta) =
        ([0.0], NormPoolState::default(), [0.0], [0.0]);
    let input = [1.0, 2.0, 4.0, 3.0];
    at_each_level(|_| {
        norm_pool_forward(&small(), &steps(norm), &input, &mut output, &mut state);
        NormPoolGradient::new(&small(), Some(norm.gamma), &input, &state, &[1.0])
            .write_parameters(&mut to_gamma, &mut to_beta);
        assert!((to_gamma[0] - 4.0).abs() < 1e-5, "{to_gamma:?}");
    });
}

#[test]
fn a_mean_far_from_zero_costs_no_digits() {
    let shape = NormPool {
        batch: 4,
        height: 16,
        width: 16,
        channels: 3,
        pool: Pool2d::square(1),
    };
    let shape = shape.checked().expect("a valid shape");
    let input: Vec<f32> = numbers(1, shape.input_len())
        .iter()
        .map(|x| x + 4096.0)
        .collect();
    let case = Case {
        gamma: vec![1.0; 3],
        beta: vec![0.0; 3],
        gradient: numbers(2, shape.output_len()),
        running: None,
        residual: None,
        activation: Activation::Linear,
        kept: vec![1.0; shape.output_len()],
        input,
        shape,
    };
    let expected = case.expected();
    let norm = Norm {
        gamma: &case.gamma,
        beta: &case.beta,
        epsilon: EPSILON,
        statistics: Statistics::Batch,
    };
    let (mut output, mut state) = (vec![0.0; shape.output_len()], NormPoolState::default());
    norm_pool_forward(&shape, &steps(norm), &case.input, &mut output, &mut state);
    assert_close("variance", &state.variance, &expected.variance);
}

#[test]
fn a_convolution_takes_the_fused_gradient_as_it_would_take_the_written_one() {
    takes_the_fused_gradient(Pool2d::square(2), Activation::Linear);
    takes_the_fused_gradient(Pool2d::square(2), Activation::Relu6);
    takes_the_fused_gradient(Pool2d::square(1), Activation::Relu);
}

fn takes_the_fused_gradient(window: Pool2d, activation: Activation) {
    let conv = Conv2d::new([5, 9, 8, 3], 20, [3, 3])
        .padded(1)
        .checked()
        .expect("a valid shape");
    let [height, width] = conv.output();
    let pool = NormPool {
        batch: 5,
        height,
        width,
        channels: 20,
        pool: window,
    };
    let pool = pool.checked().expect("a valid shape");
    let (input, weights) = (numbers(1, conv.input_len()), numbers(2, conv.weights_len()));
    let output: Vec<f32> = distinct(3, conv.output_len())
        .iter()
        .map(|x| x.max(0.0))
        .collect();
    let (gamma, beta, gradient) = (
        numbers(4, 20),
        numbers(5, 20),
        numbers(6, pool.output_len()),
    );
    at_each_level(|_| {
        let norm = Norm {
            gamma: &gamma,
            beta: &beta,
            epsilon: EPSILON,
            statistics: Statistics::Batch,
        };
        let drop = Dropout::new(0.5, 1, 2).expect("a valid rate");
        let (mut pooled, mut state) = (vec![0.0; pool.output_len()], NormPoolState::default());
        norm_pool_forward(
            &pool,
            &NormPoolSteps {
                activation,
                dropout: Some(drop),
                ..steps(norm)
            },
            &output,
            &mut pooled,
            &mut state,
        );
        let through = NormPoolGradient::new(&pool, Some(&gamma), &output, &state, &gradient);
        let mut written = vec![0.0; output.len()];
        through.write(&mut written);
        let run = |gradient: OutputGradient| {
            let mut all = (
                vec![0.0; input.len()],
                vec![0.0; weights.len()],
                vec![0.0; 20],
            );
            let gradients = Conv2dGradients {
                input: Some(&mut all.0),
                weights: Some(&mut all.1),
                bias: Some(&mut all.2),
            };
            conv2d_backward(&conv, &input, &weights, &gradient, gradients);
            all
        };
        let fused = run(OutputGradient::NormPool {
            gradient: &through,
            activation: Activation::Relu,
        });
        assert_eq!(
            fused,
            run(OutputGradient::Activated {
                activation: Activation::Relu,
                gradient: &written,
                output: &output
            })
        );
        let fused = run(OutputGradient::NormPool {
            gradient: &through,
            activation: Activation::Linear,
        });
        assert_eq!(fused, run(OutputGradient::Linear { gradient: &written }));
    });
}
