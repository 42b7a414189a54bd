//! Times single layers of today's convolutional networks, forward and with all gradients.
//!
//! `cargo run --release --example layers [SECONDS [FILTER]]`: each line runs for so long (default
//! 0.3), and the least of its times counts; FILTER is a part of the line's name. `RAYON_NUM_THREADS`
//! bounds the threads.

use std::time::Instant;

use kiln_kernels::{
    Activation, Conv2d, Conv2dGradients, Divisor, Elementwise, Epilogue, LayerNorm,
    LayerNormGradients, Norm, NormPool, NormPoolGradient, NormPoolState, NormPoolSteps,
    OutputGradient, Pool2d, ShapeError, Statistics, add, average_pool_backward,
    average_pool_forward, channel_gate_backward, channel_gate_forward, conv2d_backward,
    conv2d_forward, elementwise_backward, elementwise_forward, global_average_pool_backward,
    global_average_pool_forward, layer_norm_backward, layer_norm_forward, max_pool_forward,
    norm_pool_forward,
};

/// How long each line runs, and which lines do.
struct Timer {
    seconds: f64,
    filter: String,
}

impl Timer {
    /// Prints the least time of `work` in milliseconds.
    fn line(&self, name: &str, mut work: impl FnMut()) {
        if !name.contains(&self.filter) {
            return;
        }
        let start = Instant::now();
        let mut least = f64::INFINITY;
        for run in 0.. {
            let begin = Instant::now();
            work();
            least = least.min(begin.elapsed().as_secs_f64());
            if run >= 3 && start.elapsed().as_secs_f64() > self.seconds {
                break;
            }
        }
        println!("{name:64} {:9.3} ms", least * 1e3);
    }
}

/// Numbers in [-0.5, 0.5).
fn numbers(count: usize) -> Vec<f32> {
    (0..count)
        .map(|i| (i * 7919 % 1000) as f32 / 1000.0 - 0.5)
        .collect()
}

fn main() -> Result<(), ShapeError> {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().and_then(|text| text.parse().ok());
    let timer = Timer {
        seconds: seconds.unwrap_or(0.3),
        filter: arguments.next().unwrap_or_default(),
    };
    println!("least of {} s each\n", timer.seconds);
    for (input, kernel, stride) in [
        ([32, 32, 32, 96], 3, 1),
        ([32, 32, 32, 96], 3, 2),
        ([32, 16, 16, 192], 3, 1),
        ([32, 16, 16, 192], 3, 2),
        ([32, 4, 4, 960], 3, 1),
        ([32, 4, 4, 960], 3, 2),
        ([32, 8, 8, 480], 5, 1),
        ([32, 8, 8, 480], 5, 2),
        ([32, 14, 14, 384], 7, 1),
        ([32, 56, 56, 144], 3, 1),
    ] {
        depthwise(&timer, input, kernel, stride)?;
    }
    for (input, filters, kernel) in [
        ([32, 32, 32, 16], 96, 1),
        ([32, 16, 16, 128], 128, 3),
        ([32, 32, 32, 64], 64, 3),
    ] {
        for order in [
            [Activation::Relu, Activation::Linear],
            [Activation::Linear, Activation::Relu],
        ] {
            normalized(&timer, input, filters, kernel, order)?;
        }
    }
    pointwise(&timer)?;
    Ok(())
}

fn depthwise(
    timer: &Timer,
    input: [usize; 4],
    kernel: usize,
    stride: usize,
) -> Result<(), ShapeError> {
    let shape = Conv2d {
        stride: [stride; 2],
        groups: input[3],
        ..Conv2d::new(input, input[3], [kernel; 2]).padded(kernel / 2)
    };
    let shape = shape.checked()?;
    let (x, weights, bias) = (
        numbers(shape.input_len()),
        numbers(shape.weights_len()),
        numbers(shape.filters),
    );
    let (mut y, gradient) = (vec![0.0; shape.output_len()], numbers(shape.output_len()));
    let (mut to_x, mut to_weights, mut to_bias) = (x.clone(), weights.clone(), bias.clone());
    let epilogue = Epilogue {
        bias: Some(&bias),
        activation: Activation::Relu6,
        ..Epilogue::default()
    };
    let name = format!("depthwise {kernel}x{kernel} s{stride} {input:?}");
    timer.line(&format!("{name} forward"), || {
        conv2d_forward(&shape, &x, &weights, &epilogue, &mut y);
    });
    timer.line(&format!("{name} step"), || {
        conv2d_forward(&shape, &x, &weights, &epilogue, &mut y);
        let gradients = Conv2dGradients {
            input: Some(&mut to_x),
            weights: Some(&mut to_weights),
            bias: Some(&mut to_bias),
        };
        let from = OutputGradient::Activated {
            activation: Activation::Relu6,
            gradient: &gradient,
            output: &y,
        };
        conv2d_backward(&shape, &x, &weights, &from, gradients);
    });
    Ok(())
}

/// A convolution with the first activation, then batch normalization with the second.
fn normalized(
    timer: &Timer,
    input: [usize; 4],
    filters: usize,
    kernel: usize,
    [first, second]: [Activation; 2],
) -> Result<(), ShapeError> {
    let conv = Conv2d::new(input, filters, [kernel; 2]).padded(kernel / 2);
    let conv = conv.checked()?;
    let [height, width] = conv.output();
    let shape = NormPool {
        batch: conv.batch,
        height,
        width,
        channels: filters,
        pool: Pool2d::square(1),
    };
    let shape = shape.checked()?;
    let (x, weights) = (numbers(conv.input_len()), numbers(conv.weights_len()));
    let (gamma, beta) = (vec![1.0; filters], vec![0.0; filters]);
    let gradient = numbers(shape.output_len());
    let mut y = vec![0.0; conv.output_len()];
    let mut z = y.clone();
    let (mut to_x, mut to_weights) = (x.clone(), weights.clone());
    let (mut to_gamma, mut to_beta) = (gamma.clone(), beta.clone());
    let mut state = NormPoolState::default();
    let epilogue = Epilogue {
        activation: first,
        ..Epilogue::default()
    };
    let steps = NormPoolSteps {
        norm: Some(Norm {
            gamma: &gamma,
            beta: &beta,
            epsilon: 1e-5,
            statistics: Statistics::Batch,
        }),
        activation: second,
        ..NormPoolSteps::default()
    };
    let name =
        format!("conv {kernel}x{kernel} {input:?} to {filters} {first:?}, norm {second:?} step");
    timer.line(&name, || {
        conv2d_forward(&conv, &x, &weights, &epilogue, &mut y);
        norm_pool_forward(&shape, &steps, &y, &mut z, &mut state);
        let through = NormPoolGradient::new(&shape, Some(&gamma), &y, &state, &gradient);
        through.write_parameters(&mut to_gamma, &mut to_beta);
        let from = OutputGradient::NormPool {
            gradient: &through,
            activation: first,
        };
        let gradients = Conv2dGradients {
            input: Some(&mut to_x),
            weights: Some(&mut to_weights),
            bias: None,
        };
        conv2d_backward(&conv, &x, &weights, &from, gradients);
    });
    Ok(())
}

/// The operations of single elements, channels and rows, on 32 images of 16×16×192.
fn pointwise(timer: &Timer) -> Result<(), ShapeError> {
    const BATCH: usize = 32;
    const PIXELS: usize = 256;
    const CHANNELS: usize = 192;
    let (x, gradient) = (
        numbers(BATCH * PIXELS * CHANNELS),
        numbers(BATCH * PIXELS * CHANNELS),
    );
    let (mut y, mut to_x) = (x.clone(), x.clone());
    for function in [
        Elementwise::Sigmoid,
        Elementwise::Silu,
        Elementwise::HardSigmoid,
        Elementwise::HardSwish,
        Elementwise::Gelu,
        Elementwise::GeluTanh,
    ] {
        timer.line(&format!("{function:?} forward"), || {
            elementwise_forward(function, &x, &mut y);
        });
        timer.line(&format!("{function:?} backward"), || {
            elementwise_backward(function, &x, &gradient, &mut to_x);
        });
    }
    timer.line("add ReLU forward", || {
        add(Activation::Relu, &x, &gradient, &mut y);
    });
    let gate = numbers(BATCH * CHANNELS);
    let mut small = gate.clone();
    timer.line("global average pool forward", || {
        global_average_pool_forward(BATCH, PIXELS, CHANNELS, &x, &mut small);
    });
    timer.line("global average pool backward", || {
        global_average_pool_backward(BATCH, PIXELS, CHANNELS, &gate, &mut to_x);
    });
    timer.line("channel gate forward", || {
        channel_gate_forward(BATCH, CHANNELS, &x, &gate, &mut y);
    });
    timer.line("channel gate backward", || {
        channel_gate_backward(BATCH, CHANNELS, &x, &gate, &gradient, &mut to_x, &mut small);
    });
    let (gamma, beta) = (numbers(CHANNELS), numbers(CHANNELS));
    let (mut to_gamma, mut to_beta) = (gamma.clone(), beta.clone());
    let norm = LayerNorm {
        gamma: &gamma,
        beta: &beta,
        epsilon: 1e-6,
    };
    timer.line("layer norm forward", || {
        layer_norm_forward(&norm, &x, &mut y);
    });
    timer.line("layer norm backward", || {
        let gradients = LayerNormGradients {
            input: &mut to_x,
            gamma: &mut to_gamma,
            beta: &mut to_beta,
        };
        layer_norm_backward(&norm, &x, &gradient, gradients);
    });
    let pool = NormPool {
        batch: BATCH,
        height: 16,
        width: 16,
        channels: CHANNELS,
        pool: Pool2d {
            window: [3; 2],
            stride: [2; 2],
            padding: [1; 4],
        },
    };
    let pool = pool.checked()?;
    let (small_gradient, mut pooled) = (numbers(pool.output_len()), numbers(pool.output_len()));
    timer.line("max pool 3x3 s2 forward", || {
        max_pool_forward(&pool, &x, &mut pooled);
    });
    timer.line("average pool 3x3 s2 forward", || {
        average_pool_forward(&pool, Divisor::Inside, &x, &mut pooled);
    });
    timer.line("average pool 3x3 s2 backward", || {
        average_pool_backward(&pool, Divisor::Inside, &small_gradient, &mut to_x);
    });
    Ok(())
}
