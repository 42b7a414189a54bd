//! Means, gates and layer normalization against their definitions in f64.

mod common;

use common::{
    Sum, assert_close, assert_close_sums, assert_close_within, at_each_level, numbers, with_threads,
};
use kiln_kernels::{
    Divisor, LayerNorm, LayerNormGradients, NormPool, NormPoolShape, NormPoolState, NormPoolSteps,
    Pool2d, average_pool_backward, average_pool_forward, channel_gate_backward,
    channel_gate_forward, global_average_pool_backward, global_average_pool_forward,
    layer_norm_backward, layer_norm_forward, max_pool_forward, norm_pool_forward,
};
use proptest::prelude::*;

fn any_pool() -> impl Strategy<Value = NormPoolShape> {
    let sizes = (1_usize..4, 1_usize..10, 1_usize..10, 1_usize..40);
    let window = (
        [1_usize..4, 1..4],
        [1_usize..4, 1..4],
        [0_usize..3, 0..3, 0..3, 0..3],
    );
    (sizes, window).prop_filter_map(
        "fits",
        |((batch, height, width, channels), (window, stride, padding))| {
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

/// Calls `visit(output, input, elements in the image)` for each element of each window.
fn pooled(s: &NormPoolShape, mut visit: impl FnMut(usize, usize, usize)) {
    let [rows, columns] = s.output();
    let inside = |o: usize, axis: usize, size: usize| {
        let (stride, before) = (s.pool.stride[axis], s.pool.padding[axis]);
        (0..s.pool.window[axis])
            .filter_map(|k| (o * stride + k).checked_sub(before).filter(|&i| i < size))
            .collect::<Vec<_>>()
    };
    for n in 0..s.batch {
        for oy in 0..rows {
            for ox in 0..columns {
                let (ys, xs) = (inside(oy, 0, s.height), inside(ox, 1, s.width));
                for c in 0..s.channels {
                    for &y in &ys {
                        for &x in &xs {
                            visit(
                                ((n * rows + oy) * columns + ox) * s.channels + c,
                                ((n * s.height + y) * s.width + x) * s.channels + c,
                                ys.len() * xs.len(),
                            );
                        }
                    }
                }
            }
        }
    }
}

fn check_pool(s: &NormPoolShape, divisor: Divisor, seed: u64) {
    let (input, gradient) = (
        numbers(seed, s.input_len()),
        numbers(seed + 1, s.output_len()),
    );
    let sums = |count| vec![Sum::default(); count];
    let (mut expected, mut expected_gradient) = (sums(s.output_len()), sums(input.len()));
    pooled(s, |o, i, inside| {
        let count = match divisor {
            Divisor::Inside => inside,
            Divisor::Window => s.pool.window[0] * s.pool.window[1],
        };
        expected[o].add(f64::from(input[i]) / count as f64);
        expected_gradient[i].add(f64::from(gradient[o]) / count as f64);
    });
    let (mut output, mut to) = (vec![f32::NAN; s.output_len()], vec![f32::NAN; input.len()]);
    average_pool_forward(s, divisor, &input, &mut output);
    average_pool_backward(s, divisor, &gradient, &mut to);
    assert_close_sums("average pool", &output, &expected);
    assert_close_sums("average pool's gradient", &to, &expected_gradient);
}

/// Maxima are the largest of each window, and to the last bit those of the pass with places, where there are NaNs too.
fn check_max_pool(s: &NormPoolShape, seed: u64) {
    let mut input = numbers(seed, s.input_len());
    let (mut output, mut placed) = (vec![f32::NAN; s.output_len()], vec![0.0; s.output_len()]);
    let mut expected = vec![f32::NEG_INFINITY; s.output_len()];
    pooled(s, |o, i, _| expected[o] = expected[o].max(input[i]));
    max_pool_forward(s, &input, &mut output);
    assert_eq!(output, expected);
    for i in (0..input.len()).step_by(5) {
        input[i] = f32::NAN;
    }
    let mut state = NormPoolState::default();
    norm_pool_forward(
        s,
        &NormPoolSteps::default(),
        &input,
        &mut placed,
        &mut state,
    );
    max_pool_forward(s, &input, &mut output);
    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&output), bits(&placed));
}

fn check_global_pool_and_gate([batch, pixels, channels]: [usize; 3], seed: u64) {
    let x = numbers(seed, batch * pixels * channels);
    let gate = numbers(seed + 1, batch * channels);
    let gradient = numbers(seed + 2, x.len());
    let at = |i: usize| i / (pixels * channels) * channels + i % channels;
    let mut mean = vec![Sum::default(); gate.len()];
    let mut to_gate = mean.clone();
    for (i, (&x, &g)) in x.iter().zip(&gradient).enumerate() {
        mean[at(i)].add(f64::from(x) / pixels as f64);
        to_gate[at(i)].add(f64::from(x) * f64::from(g));
    }
    let gated = |values: &[f32]| -> Vec<f64> {
        let product = |(i, &x): (usize, &f32)| f64::from(x) * f64::from(gate[at(i)]);
        values.iter().enumerate().map(product).collect()
    };

    let (mut small, mut large) = (vec![f32::NAN; gate.len()], vec![f32::NAN; x.len()]);
    global_average_pool_forward(batch, pixels, channels, &x, &mut small);
    assert_close_sums("mean", &small, &mean);
    global_average_pool_backward(batch, pixels, channels, &gate, &mut large);
    let spread: Vec<f64> = (0..x.len())
        .map(|i| f64::from(gate[at(i)]) / pixels as f64)
        .collect();
    assert_close("mean's gradient", &large, &spread);

    channel_gate_forward(batch, channels, &x, &gate, &mut large);
    assert_close("gate", &large, &gated(&x));
    channel_gate_backward(
        batch, channels, &x, &gate, &gradient, &mut large, &mut small,
    );
    assert_close("gate's input gradient", &large, &gated(&gradient));
    assert_close_sums("gate's gradient", &small, &to_gate);
}

fn check_layer_norm(rows: usize, channels: usize, seed: u64) {
    const EPSILON: f32 = 1e-2;
    let x: Vec<f32> = numbers(seed, rows * channels)
        .iter()
        .map(|x| 3.0 * x + 0.5)
        .collect();
    let (gamma, beta) = (numbers(seed + 1, channels), numbers(seed + 2, channels));
    let gradient = numbers(seed + 3, x.len());
    let mut expected = [vec![], vec![]];
    let sums = vec![Sum::default(); channels];
    let mut expected_sums = [sums.clone(), sums];
    for (row, gradient) in x.chunks(channels).zip(gradient.chunks(channels)) {
        let mean_of = |values: &dyn Fn(usize) -> f64| {
            (0..channels).map(values).sum::<f64>() / channels as f64
        };
        let mean = mean_of(&|c| f64::from(row[c]));
        let variance = mean_of(&|c| (f64::from(row[c]) - mean).powi(2));
        let inverse = 1.0 / (variance + f64::from(EPSILON)).sqrt();
        let normal = |c: usize| (f64::from(row[c]) - mean) * inverse;
        let d = |c: usize| f64::from(gradient[c]) * f64::from(gamma[c]);
        let (constant, product) = (mean_of(&d), mean_of(&|c| d(c) * normal(c)));
        for c in 0..channels {
            expected[0].push(normal(c) * f64::from(gamma[c]) + f64::from(beta[c]));
            expected[1].push((d(c) - constant - normal(c) * product) * inverse);
            let scaled = f64::from(gradient[c]) * inverse;
            expected_sums[0][c].extend([scaled * f64::from(row[c]), -scaled * mean]);
            expected_sums[1][c].add(f64::from(gradient[c]));
        }
    }
    let norm = LayerNorm {
        gamma: &gamma,
        beta: &beta,
        epsilon: EPSILON,
    };
    let (mut output, mut to_input) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
    let (mut to_gamma, mut to_beta) = (vec![f32::NAN; channels], vec![f32::NAN; channels]);
    layer_norm_forward(&norm, &x, &mut output);
    let gradients = LayerNormGradients {
        input: &mut to_input,
        gamma: &mut to_gamma,
        beta: &mut to_beta,
    };
    layer_norm_backward(&norm, &x, &gradient, gradients);
    assert_close_within("output", &output, &expected[0], 1.0);
    // One channel alone is normalized to 0, whatever it is: its gradient is a difference of equals.
    assert_close_within("input gradient", &to_input, &expected[1], 10.0);
    assert_close_sums("gamma's gradient", &to_gamma, &expected_sums[0]);
    assert_close_sums("beta's gradient", &to_beta, &expected_sums[1]);
}

proptest! {
    #[test]
    fn average_pools_are_their_definitions(s in any_pool(), window: bool, seed in 1_u64..1000) {
        let divisor = if window { Divisor::Window } else { Divisor::Inside };
        at_each_level(|_| check_pool(&s, divisor, seed));
    }

    #[test]
    fn max_pools_are_their_definitions(s in any_pool(), seed in 1_u64..1000) {
        at_each_level(|_| check_max_pool(&s, seed));
    }

    #[test]
    fn global_pools_and_gates_are_their_definitions(
        sizes in [1_usize..6, 1..70, 1..70], seed in 1_u64..1000,
    ) {
        at_each_level(|_| check_global_pool_and_gate(sizes, seed));
    }

    #[test]
    fn layer_norms_are_their_definitions(rows in 1_usize..60, channels in 1_usize..140, seed in 1_u64..1000) {
        at_each_level(|_| check_layer_norm(rows, channels, seed));
    }
}

#[test]
fn large_ones_are_their_definitions_on_several_threads() {
    let pool = NormPool {
        batch: 9,
        height: 40,
        width: 33,
        channels: 24,
        pool: Pool2d {
            window: [3, 3],
            stride: [2, 2],
            padding: [1, 1, 2, 1],
        },
    };
    let pool = pool.checked().expect("a valid shape");
    for threads in [1, 3] {
        with_threads(threads, || {
            check_pool(&pool, Divisor::Inside, 3);
            check_max_pool(&pool, 6);
            check_global_pool_and_gate([7, 1000, 24], 4);
            check_layer_norm(2000, 96, 5);
        });
    }
}
