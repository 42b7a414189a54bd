//! Convolution and dense layers against their definition in f64.

mod common;

use common::{Sum, assert_close_sums, at_each_level, numbers, with_threads};
use kiln_kernels::{
    Activation, Conv2d, Conv2dGradients, Conv2dShape, Epilogue, OutputGradient, PreparedConv2d,
    Products, conv2d_backward, conv2d_forward,
};
use proptest::prelude::*;

/// Calls `visit(output index, input index, weight index)` for each multiply-add of the definition.
fn definition(s: &Conv2dShape, mut visit: impl FnMut(usize, usize, usize)) {
    let [rows, columns] = s.output();
    let (channels, filters) = (s.channels / s.groups, s.filters / s.groups);
    for n in 0..s.batch {
        for (oy, ox) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
            for f in 0..s.filters {
                let output = ((n * rows + oy) * columns + ox) * s.filters + f;
                for (ky, kx) in (0..s.kernel[0]).flat_map(|y| (0..s.kernel[1]).map(move |x| (y, x)))
                {
                    let y = (oy * s.stride[0] + ky * s.dilation[0])
                        .checked_sub(s.padding[0])
                        .filter(|&y| y < s.height);
                    let x = (ox * s.stride[1] + kx * s.dilation[1])
                        .checked_sub(s.padding[1])
                        .filter(|&x| x < s.width);
                    let (Some(y), Some(x)) = (y, x) else { continue };
                    for c in 0..channels {
                        let input = ((n * s.height + y) * s.width + x) * s.channels
                            + f / filters * channels
                            + c;
                        visit(
                            output,
                            input,
                            ((f * channels + c) * s.kernel[0] + ky) * s.kernel[1] + kx,
                        );
                    }
                }
            }
        }
    }
}

/// What a case applies after the sum.
#[derive(Debug, Clone, Copy)]
struct After {
    activation: Activation,
    residual: bool,
}

/// `ReLU` alone.
const RELU: After = After {
    activation: Activation::Relu,
    residual: false,
};

fn any_after() -> impl Strategy<Value = After> {
    let activation = prop_oneof![
        Just(Activation::Linear),
        Just(Activation::Relu),
        Just(Activation::Relu6)
    ];
    (activation, any::<bool>()).prop_map(|(activation, residual)| After {
        activation,
        residual,
    })
}

fn check(s: &Conv2dShape, after: After, seed: u64) {
    let After {
        activation,
        residual,
    } = after;
    // What rounding leaves as it is: then its products differ from the definition no more than others.
    let exact = |numbers: Vec<f32>| match s.products {
        Products::Float32 => numbers,
        Products::Bf16 => {
            let cut = |x: f32| f32::from_bits(x.to_bits() & 0xffff_0000);
            numbers.into_iter().map(cut).collect()
        }
    };
    // Many sums beyond the 6 of `ReLU6`.
    let input = numbers(seed, s.input_len());
    let input = exact(input.iter().map(|x| 4.0 * x).collect());
    let weights = exact(numbers(seed + 1, s.weights_len()));
    let bias = numbers(seed + 2, s.filters);
    let gradient = exact(numbers(seed + 3, s.output_len()));
    let skip = residual.then(|| numbers(seed + 4, s.output_len()));
    let epilogue = Epilogue {
        bias: Some(&bias),
        residual: skip.as_deref(),
        activation,
    };

    let mut output = vec![f32::NAN; s.output_len()];
    conv2d_forward(s, &input, &weights, &epilogue, &mut output);
    let mut expected = vec![Sum::default(); output.len()];
    for (i, sum) in expected.iter_mut().enumerate() {
        sum.add(f64::from(bias[i % s.filters]));
        sum.extend(skip.as_ref().map(|skip| f64::from(skip[i])));
    }
    definition(s, |o, i, w| {
        expected[o].add(f64::from(input[i]) * f64::from(weights[w]));
    });
    let highest = match activation {
        Activation::Linear | Activation::Relu => f64::INFINITY,
        Activation::Relu6 => 6.0,
    };
    if activation != Activation::Linear {
        for sum in &mut expected {
            sum.value = sum.value.clamp(0.0, highest);
        }
    }
    assert_close_sums("output", &output, &expected);

    let mut again = vec![f32::NAN; s.output_len()];
    conv2d_forward(s, &input, &weights, &epilogue, &mut again);
    assert_eq!(output, again, "equal calls give equal bits");

    let mut prepared = vec![f32::NAN; s.output_len()];
    PreparedConv2d::new(s, &weights, Some(&bias), activation).forward(
        &input,
        skip.as_deref(),
        &mut prepared,
    );
    assert_close_sums("prepared", &prepared, &expected);

    let masked: Vec<f64> = gradient
        .iter()
        .zip(&output)
        .map(|(&g, &o)| {
            let inside = activation == Activation::Linear || (o > 0.0 && f64::from(o) < highest);
            if inside { f64::from(g) } else { 0.0 }
        })
        .collect();
    let mut to_input = vec![f32::NAN; input.len()];
    let mut to_weights = vec![f32::NAN; weights.len()];
    let mut to_bias = vec![f32::NAN; bias.len()];
    let from = match activation {
        Activation::Linear => OutputGradient::Linear {
            gradient: &gradient,
        },
        Activation::Relu | Activation::Relu6 => OutputGradient::Activated {
            activation,
            gradient: &gradient,
            output: &output,
        },
    };
    let gradients = Conv2dGradients {
        input: Some(&mut to_input),
        weights: Some(&mut to_weights),
        bias: Some(&mut to_bias),
    };
    conv2d_backward(s, &input, &weights, &from, gradients);
    let sums = |count| vec![Sum::default(); count];
    let mut expected = (sums(input.len()), sums(weights.len()), sums(bias.len()));
    definition(s, |o, i, w| {
        expected.0[i].add(masked[o] * f64::from(weights[w]));
        expected.1[w].add(masked[o] * f64::from(input[i]));
    });
    masked
        .iter()
        .enumerate()
        .for_each(|(i, &g)| expected.2[i % s.filters].add(g));
    assert_close_sums("input gradient", &to_input, &expected.0);
    assert_close_sums("weight gradient", &to_weights, &expected.1);
    assert_close_sums("bias gradient", &to_bias, &expected.2);

    let mut alone = vec![f32::NAN; weights.len()];
    let gradients = Conv2dGradients {
        weights: Some(&mut alone),
        ..Conv2dGradients::default()
    };
    conv2d_backward(s, &input, &weights, &from, gradients);
    assert_close_sums("weight gradient alone", &alone, &expected.1);
}

/// Where the CPU has no products of bfloat16, they are of float32.
fn any_products() -> impl Strategy<Value = Products> {
    prop_oneof![Just(Products::Float32), Just(Products::Bf16)]
}

/// Any convolution of moderate size.
fn any_conv() -> impl Strategy<Value = Conv2dShape> {
    let sizes = (
        1_usize..6,
        1_usize..12,
        1_usize..12,
        1_usize..10,
        1_usize..20,
        1_usize..4,
    );
    let pair = |range: std::ops::Range<usize>| [range.clone(), range];
    let window = (
        pair(1..5),
        pair(1..4),
        [0_usize..5, 0..5, 0..5, 0..5],
        pair(1..4),
        any_products(),
    );
    (sizes, window).prop_filter_map(
        "the window must fit",
        |(sizes, (kernel, stride, padding, dilation, products))| {
            let (batch, height, width, channels, filters, groups) = sizes;
            let (channels, filters) = (channels * groups, filters * groups);
            Conv2d {
                batch,
                height,
                width,
                channels,
                filters,
                kernel,
                stride,
                padding,
                dilation,
                groups,
                products,
            }
            .checked()
            .ok()
        },
    )
}

/// The ordinary kind, wide enough for full tiles.
fn dense_conv() -> impl Strategy<Value = Conv2dShape> {
    let sizes = ([1_usize..40, 1..9, 1..40], 1_usize..40, 1_usize..70);
    let window = ([1_usize..4, 1..4], 0_usize..3, any_products());
    (sizes, window).prop_filter_map(
        "the window must fit",
        |(sizes, (kernel, zeros, products))| {
            let ([batch, height, width], channels, filters) = sizes;
            let size = batch * height * width * channels * filters * kernel[0] * kernel[1];
            if size > 1_000_000 {
                return None;
            }
            let sizes = Conv2d::new([batch, height, width, channels], filters, kernel);
            let sizes = sizes.padded(zeros);
            Conv2d { products, ..sizes }.checked().ok()
        },
    )
}

/// Kernels of 3×3 and 5×5 with enough channels and filters for fewer multiplications, at most so many in all.
fn small_kernel_conv(
    images: std::ops::Range<usize>,
    sizes: std::ops::Range<usize>,
    channels: std::ops::Range<usize>,
    padding: std::ops::Range<usize>,
    most: usize,
) -> impl Strategy<Value = Conv2dShape> {
    let of = |range: &std::ops::Range<usize>| range.clone();
    let sizes = [images, of(&sizes), sizes, of(&channels), channels];
    let padding = [of(&padding), of(&padding), of(&padding), padding];
    (sizes, prop_oneof![Just(3_usize), Just(5)], padding).prop_filter_map(
        "the window must fit",
        move |([batch, height, width, channels, filters], kernel, padding)| {
            let size = batch * height * width * channels * filters * kernel * kernel;
            let sizes = Conv2d::new([batch, height, width, channels], filters, [kernel; 2]);
            let shape = Conv2d { padding, ..sizes }.checked().ok();
            shape.filter(|_| size <= most)
        },
    )
}

/// One filter a channel, with every kind of border.
fn depthwise_conv() -> impl Strategy<Value = Conv2dShape> {
    let sizes = (1_usize..4, 1_usize..14, 1_usize..14, 2_usize..70);
    let pair = |range: std::ops::Range<usize>| [range.clone(), range];
    let window = (
        pair(1..8),
        pair(1..4),
        [0_usize..5, 0..5, 0..5, 0..5],
        prop_oneof![3 => Just([1, 1]), 1 => [1_usize..4, 1..4]],
    );
    (sizes, window).prop_filter_map(
        "the window must fit",
        |((batch, height, width, channels), (kernel, stride, padding, dilation))| {
            Conv2d {
                stride,
                padding,
                dilation,
                groups: channels,
                ..Conv2d::new([batch, height, width, channels], channels, kernel)
            }
            .checked()
            .ok()
        },
    )
}

proptest! {
    #[test]
    fn a_depthwise_convolution_is_its_definition(s in depthwise_conv(), after in any_after(), seed in 1_u64..1000) {
        at_each_level(|_| check(&s, after, seed));
    }

    #[test]
    fn any_convolution_is_its_definition(s in any_conv(), after in any_after(), seed in 1_u64..1000) {
        at_each_level(|_| check(&s, after, seed));
    }

    #[test]
    fn a_dense_convolution_is_its_definition(s in dense_conv(), after in any_after(), seed in 1_u64..1000) {
        at_each_level(|_| check(&s, after, seed));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every kind of border, in passes that share their weights.
    #[test]
    fn a_convolution_of_a_small_kernel_is_its_definition(
        s in small_kernel_conv(1..4, 2..11, 8..50, 0..6, 4_000_000),
        after in any_after(),
        seed in 1_u64..1000,
    ) {
        at_each_level(|_| check(&s, after, seed));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Enough images that transforming the weights pays in one pass too, and in that of the gradients.
    #[test]
    fn a_convolution_of_many_small_windows_is_its_definition(
        s in small_kernel_conv(6..14, 9..16, 16..29, 0..2, 25_000_000),
        after in any_after(),
        seed in 1_u64..1000,
    ) {
        // On more threads than images, gradients are computed in another way.
        with_threads(3, || at_each_level(|_| check(&s, after, seed)));
    }
}

/// Errors of dense layers, as roots of the mean of squares: 3×3 and 5×5 kernels beside the same ones with a column of zeros,
/// which are multiplied directly.
#[test]
fn fewer_multiplications_round_at_most_twice_as_much() {
    for (kernel, channels) in [(3, 16), (3, 256), (5, 16), (5, 128)] {
        let padding = [kernel / 2; 4];
        let s = Conv2d {
            padding,
            ..Conv2d::new([1, 12, 12, channels], 48, [kernel; 2])
        };
        let wide = Conv2d {
            kernel: [kernel, kernel + 1],
            padding: [padding[0], padding[1], padding[2], padding[3] + 1],
            ..s
        };
        let [s, wide] = [s, wide].map(|sizes| sizes.checked().expect("a valid shape"));
        let (input, weights) = (numbers(1, s.input_len()), numbers(2, s.weights_len()));
        let widened: Vec<f32> = weights
            .chunks(kernel)
            .flat_map(|row| row.iter().copied().chain([0.0]))
            .collect();
        let mut expected = vec![0.0; s.output_len()];
        definition(&s, |o, i, w| {
            expected[o] += f64::from(input[i]) * f64::from(weights[w]);
        });
        let error = |s: &Conv2dShape, weights: &[f32]| {
            let mut output = vec![f32::NAN; s.output_len()];
            let prepared = PreparedConv2d::new(s, weights, None, Activation::Linear);
            prepared.forward(&input, None, &mut output);
            let squares = output.iter().zip(&expected);
            let squares = squares.map(|(&found, expected)| (f64::from(found) - expected).powi(2));
            (squares.sum::<f64>() / expected.len() as f64).sqrt()
        };
        at_each_level(|level| {
            let (fewer, direct) = (error(&s, &weights), error(&wide, &widened));
            assert!(
                fewer <= 2.0 * direct,
                "{level:?} {kernel} {channels}: {fewer:e} {direct:e}"
            );
        });
    }
}

#[test]
fn the_networks_convolutions_are_their_definitions() {
    for (input, filters, kernel, padding) in [
        ([3, 28, 28, 1], 32, 3, 0),
        ([5, 13, 13, 32], 64, 5, 0),
        ([1, 8, 8, 64], 64, 3, 1),
        ([9, 13, 13, 32], 40, 5, 2),
        ([9, 14, 14, 32], 40, 3, 1),
        ([16, 2, 2, 128], 96, 3, 1),
        ([3, 4, 4, 128], 64, 3, 1),
        ([15, 1, 1, 100], 10, 1, 0),
    ] {
        for products in [Products::Float32, Products::Bf16] {
            let s = Conv2d {
                products,
                ..Conv2d::new(input, filters, [kernel; 2]).padded(padding)
            };
            let s = s.checked().expect("a valid shape");
            at_each_level(|_| check(&s, RELU, 7));
            for threads in [1, 3] {
                with_threads(threads, || check(&s, RELU, 8));
            }
        }
    }
}

/// The bias gradient is what is left of 9,657 gradients of either sign.
#[test]
fn sums_that_cancel_are_as_exact_as_their_partial_sums() {
    let s = Conv2d::new([29, 5, 34, 1], 1, [1, 2])
        .padded(2)
        .checked()
        .expect("a valid shape");
    let after = After {
        activation: Activation::Linear,
        residual: false,
    };
    at_each_level(|_| check(&s, after, 48));
}

/// Large enough for several bands of rows, tasks and passes over the taps.
#[test]
fn the_networks_depthwise_convolutions_are_their_definitions() {
    for (input, kernel, stride, padding) in [
        ([2, 56, 40, 96], 3, 1, [1; 4]),
        ([3, 56, 56, 40], 3, 2, [0, 0, 1, 1]),
        ([2, 16, 16, 200], 5, 2, [1, 1, 2, 2]),
        ([2, 24, 24, 96], 7, 1, [3; 4]),
        ([1, 24, 24, 72], 5, 1, [2; 4]),
        ([40, 1, 1, 300], 3, 1, [1; 4]),
    ] {
        let s = Conv2d {
            stride: [stride; 2],
            padding,
            groups: input[3],
            ..Conv2d::new(input, input[3], [kernel; 2])
        };
        let s = s.checked().expect("a valid shape");
        let after = After {
            activation: Activation::Relu6,
            residual: true,
        };
        at_each_level(|_| check(&s, after, 7));
        for threads in [1, 3] {
            with_threads(threads, || check(&s, after, 8));
        }
    }
}

/// To the last bit: scores must not depend on who else is in the batch.
#[test]
fn an_image_comes_to_the_same_in_any_batch_on_any_threads() {
    for (kernel, padding) in [(3, 1), (5, 2), (5, 0)] {
        let shape = |batch| {
            let sizes = Conv2d::new([batch, 11, 9, 48], 70, [kernel; 2]);
            sizes.padded(padding).checked().expect("a valid shape")
        };
        let (all, one) = (shape(23), shape(1));
        let input = numbers(1, all.input_len());
        let weights = numbers(2, all.weights_len());
        let forward = |s: &Conv2dShape, input: &[f32]| {
            let mut output = vec![f32::NAN; s.output_len()];
            let prepared = PreparedConv2d::new(s, &weights, None, Activation::Linear);
            prepared.forward(input, None, &mut output);
            output
        };
        let expected = with_threads(1, || forward(&all, &input));
        for threads in [2, 3] {
            assert_eq!(with_threads(threads, || forward(&all, &input)), expected);
            let images = input
                .chunks(one.input_len())
                .zip(expected.chunks(one.output_len()));
            for (input, expected) in images {
                assert_eq!(with_threads(threads, || forward(&one, input)), expected);
            }
        }
    }
}

#[test]
fn padding_around_a_tiny_image_gives_only_bias() {
    let s = Conv2d::new([2, 1, 1, 3], 5, [2, 2])
        .padded(4)
        .checked()
        .expect("a valid shape");
    let after = After {
        activation: Activation::Linear,
        residual: false,
    };
    at_each_level(|_| check(&s, after, 5));
    let mut output = vec![0.0; s.output_len()];
    let bias = [1.0, 2.0, 3.0, 4.0, 5.0];
    conv2d_forward(
        &s,
        &[1.0; 6],
        &[1.0; 60],
        &Epilogue {
            bias: Some(&bias),
            ..Epilogue::default()
        },
        &mut output,
    );
    assert_eq!(output[..5], bias);
}

#[test]
fn runs_with_as_many_threads_are_equal() {
    let dense = Conv2d::new([9, 13, 13, 8], 24, [3, 3]).padded(1);
    let depthwise = Conv2d {
        groups: 24,
        ..Conv2d::new([9, 13, 13, 24], 24, [3, 3]).padded(1)
    };
    for sizes in [dense, depthwise] {
        equal_with_as_many_threads(&sizes.checked().expect("a valid shape"));
    }
}

fn equal_with_as_many_threads(s: &Conv2dShape) {
    let (input, weights, gradient) = (
        numbers(1, s.input_len()),
        numbers(2, s.weights_len()),
        numbers(3, s.output_len()),
    );
    let run = || {
        let mut to_weights = vec![0.0; weights.len()];
        let gradients = Conv2dGradients {
            weights: Some(&mut to_weights),
            ..Conv2dGradients::default()
        };
        conv2d_backward(
            s,
            &input,
            &weights,
            &OutputGradient::Linear {
                gradient: &gradient,
            },
            gradients,
        );
        to_weights
    };
    for threads in [1, 2, 4] {
        let first = with_threads(threads, run);
        for _ in 0..5 {
            assert_eq!(first, with_threads(threads, run), "{threads} threads");
        }
    }
}

#[test]
fn nan_passes_through_relu() {
    let s = Conv2d::new([1, 1, 1, 1], 1, [1, 1])
        .checked()
        .expect("a valid shape");
    at_each_level(|_| {
        let mut output = [0.0];
        for activation in [Activation::Relu, Activation::Relu6] {
            let epilogue = Epilogue {
                activation,
                ..Epilogue::default()
            };
            conv2d_forward(&s, &[f32::NAN], &[1.0], &epilogue, &mut output);
            assert!(output[0].is_nan());
        }
    });
}

/// Numbers that rounding changes: an error of 2⁻⁹ in each factor, and the sums of float32.
#[test]
fn products_of_bfloat16_are_close_and_say_where_they_are() {
    let sizes = Conv2d::new([2, 6, 7, 8], 12, [3, 3]).padded(1);
    let run = |products| {
        let s = Conv2d { products, ..sizes }
            .checked()
            .expect("a valid shape");
        let (input, weights) = (numbers(1, s.input_len()), numbers(2, s.weights_len()));
        let gradient = numbers(3, s.output_len());
        let mut output = vec![0.0; s.output_len()];
        conv2d_forward(&s, &input, &weights, &Epilogue::default(), &mut output);
        let (mut to_input, mut to_weights) = (vec![0.0; input.len()], vec![0.0; weights.len()]);
        let gradients = Conv2dGradients {
            input: Some(&mut to_input),
            weights: Some(&mut to_weights),
            ..Conv2dGradients::default()
        };
        let gradient = OutputGradient::Linear {
            gradient: &gradient,
        };
        conv2d_backward(&s, &input, &weights, &gradient, gradients);
        [output, to_input, to_weights]
    };
    let (exact, rounded) = (run(Products::Float32), run(Products::Bf16));
    for (exact, rounded) in exact.iter().zip(&rounded) {
        let largest = exact.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let differences = exact.iter().zip(rounded).map(|(a, b)| (a - b).abs());
        let most = differences.fold(0.0, f32::max) / largest;
        assert!(most < 4e-3, "{most}");
        assert_eq!(most > 0.0, Products::bf16_is_available(), "{most}");
    }
}
