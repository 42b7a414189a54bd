//! Times the kernels of a training step of the four small CNNs, VGG16's forward pass, and the
//! micro-kernel's peak.
//!
//! `cargo run --release --example step [SECONDS [LEVEL]]`: each operation runs for so long (default
//! 1), and the least of its times counts. LEVEL is `portable`, `avx2` or `avx512` (default: the
//! CPU's best), or `bf16` for products of bfloat16. `RAYON_NUM_THREADS` bounds the threads.

use std::time::Instant;

use kiln_kernels::{
    Activation, Conv2d, Conv2dGradients, Conv2dShape, Dropout, Epilogue, Norm, NormPool,
    NormPoolGradient, NormPoolShape, NormPoolState, NormPoolSteps, OutputGradient, Pool2d,
    Products, ShapeError, SimdLevel, Statistics, conv2d_backward, conv2d_forward, nchw_to_nhwc,
    norm_pool_forward,
};

fn main() -> Result<(), ShapeError> {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments
        .next()
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(1.0);
    let wanted = arguments.next().unwrap_or_default();
    let named = SimdLevel::available().find(|level| format!("{level:?}").to_lowercase() == wanted);
    let products = if wanted == "bf16" {
        Products::Bf16
    } else {
        Products::Float32
    };
    let how = How { seconds, products };
    SimdLevel::scope(named.unwrap_or(SimdLevel::detect()), || all(how))
}

/// How to measure.
#[derive(Clone, Copy)]
struct How {
    seconds: f64,
    products: Products,
}

impl How {
    fn shape(self, sizes: Conv2d) -> Result<Conv2dShape, ShapeError> {
        let products = self.products;
        Conv2d { products, ..sizes }.checked()
    }
}

fn all(how: How) -> Result<(), ShapeError> {
    println!(
        "{:?}, products of {:?}, {} threads, least of {} s each\n",
        SimdLevel::current(),
        how.products,
        rayon::current_num_threads(),
        how.seconds
    );
    peak(how)?;
    for kernel in [3, 5] {
        for filters in [32, 64] {
            training_step(kernel, filters, how)?;
        }
    }
    vgg16(how)
}

/// The least time of `work` in milliseconds.
fn least(seconds: f64, mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut least = f64::INFINITY;
    for run in 0.. {
        let begin = Instant::now();
        work();
        least = least.min(begin.elapsed().as_secs_f64());
        if run >= 3 && start.elapsed().as_secs_f64() > seconds {
            break;
        }
    }
    least * 1e3
}

fn line(name: &str, milliseconds: f64, multiply_adds: usize) {
    let rate = 2e-6 * multiply_adds as f64 / milliseconds;
    if multiply_adds == 0 {
        println!("  {name:28} {milliseconds:8.3} ms");
    } else {
        println!("  {name:28} {milliseconds:8.3} ms {rate:8.1} GFLOP/s");
    }
}

/// Numbers in [-0.5, 0.5).
fn numbers(count: usize) -> Vec<f32> {
    (0..count)
        .map(|i| (i * 7919 % 1000) as f32 / 1000.0 - 0.5)
        .collect()
}

/// A product small enough for L2, large enough that nothing else counts.
fn peak(how: How) -> Result<(), ShapeError> {
    let shape = how.shape(Conv2d::dense(28 * 32, 400, 256))?;
    let (input, weights) = (numbers(shape.input_len()), numbers(shape.weights_len()));
    let mut output = vec![0.0; shape.output_len()];
    let time = least(how.seconds, || {
        conv2d_forward(&shape, &input, &weights, &Epilogue::default(), &mut output);
    });
    println!("Peak of the micro-kernel");
    line("896 x 400 x 256", time, shape.multiply_adds());
    println!();
    Ok(())
}

/// A convolution or dense layer with its tensors.
struct Layer {
    shape: Conv2dShape,
    activation: Activation,
    weights: Vec<f32>,
    bias: Vec<f32>,
    output: Vec<f32>,
    weight_gradient: Vec<f32>,
    bias_gradient: Vec<f32>,
}

impl Layer {
    fn new(sizes: Conv2d, activation: Activation, how: How) -> Result<Self, ShapeError> {
        let shape = how.shape(sizes)?;
        let weights: Vec<f32> = numbers(shape.weights_len())
            .iter()
            .map(|x| x * 0.1)
            .collect();
        let (weight_gradient, bias) = (vec![0.0; weights.len()], vec![0.0; shape.filters]);
        let (output, bias_gradient) = (vec![0.0; shape.output_len()], bias.clone());
        Ok(Self {
            shape,
            activation,
            weights,
            bias,
            output,
            weight_gradient,
            bias_gradient,
        })
    }

    fn forward(&mut self, input: &[f32]) {
        conv2d_forward(
            &self.shape,
            input,
            &self.weights,
            &Epilogue {
                bias: Some(&self.bias),
                activation: self.activation,
                ..Epilogue::default()
            },
            &mut self.output,
        );
    }

    fn backward(&mut self, input: &[f32], gradient: &[f32], to_input: &mut [f32]) {
        let gradient = OutputGradient::Activated {
            activation: self.activation,
            gradient,
            output: &self.output,
        };
        let gradients = Conv2dGradients {
            input: Some(to_input),
            weights: Some(&mut self.weight_gradient),
            bias: Some(&mut self.bias_gradient),
        };
        conv2d_backward(&self.shape, input, &self.weights, &gradient, gradients);
    }

    fn backward_norm_pool(
        &mut self,
        input: &[f32],
        gradient: &NormPoolGradient,
        to_input: Option<&mut [f32]>,
    ) {
        let gradient = OutputGradient::NormPool {
            gradient,
            activation: self.activation,
        };
        let gradients = Conv2dGradients {
            input: to_input,
            weights: Some(&mut self.weight_gradient),
            bias: Some(&mut self.bias_gradient),
        };
        conv2d_backward(&self.shape, input, &self.weights, &gradient, gradients);
    }
}

/// Batch normalization, pooling and dropout with their tensors.
struct Block {
    shape: NormPoolShape,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    state: NormPoolState,
    output: Vec<f32>,
    gamma_gradient: Vec<f32>,
    beta_gradient: Vec<f32>,
}

impl Block {
    fn new(conv: &Conv2dShape) -> Result<Self, ShapeError> {
        let ([height, width], channels) = (conv.output(), conv.filters);
        let shape = NormPool {
            batch: conv.batch,
            height,
            width,
            channels,
            pool: Pool2d::square(2),
        }
        .checked()?;
        let (gamma, beta) = (vec![1.0; channels], vec![0.0; channels]);
        let (gamma_gradient, beta_gradient, output) =
            (beta.clone(), beta.clone(), vec![0.0; shape.output_len()]);
        Ok(Self {
            shape,
            gamma,
            beta,
            state: NormPoolState::default(),
            output,
            gamma_gradient,
            beta_gradient,
        })
    }

    fn forward(&mut self, input: &[f32], dropout: &Dropout) {
        let norm = Norm {
            gamma: &self.gamma,
            beta: &self.beta,
            epsilon: 1e-3,
            statistics: Statistics::Batch,
        };
        norm_pool_forward(
            &self.shape,
            &NormPoolSteps {
                norm: Some(norm),
                dropout: Some(*dropout),
                ..NormPoolSteps::default()
            },
            input,
            &mut self.output,
            &mut self.state,
        );
    }

    fn backward<'a>(&'a mut self, input: &'a [f32], gradient: &'a [f32]) -> NormPoolGradient<'a> {
        let gradient =
            NormPoolGradient::new(&self.shape, Some(&self.gamma), input, &self.state, gradient);
        gradient.write_parameters(&mut self.gamma_gradient, &mut self.beta_gradient);
        gradient
    }
}

/// Convolution 3×3×32, block, convolution `kernel`×`kernel`×`filters`, block, dense 128, dense 10:
/// all kernels of a step.
fn training_step(kernel: usize, filters: usize, how: How) -> Result<(), ShapeError> {
    const BATCH: usize = 128;
    let mut conv1 = Layer::new(
        Conv2d::new([BATCH, 28, 28, 1], 32, [3, 3]),
        Activation::Relu,
        how,
    )?;
    let mut block1 = Block::new(&conv1.shape)?;
    let mut conv2 = Layer::new(
        Conv2d::new([BATCH, 13, 13, 32], filters, [kernel; 2]),
        Activation::Relu,
        how,
    )?;
    let mut block2 = Block::new(&conv2.shape)?;
    let pixels = block2.shape.output().iter().product::<usize>();
    let mut dense1 = Layer::new(
        Conv2d::dense(BATCH, pixels * filters, 128),
        Activation::Relu,
        how,
    )?;
    let mut dense2 = Layer::new(Conv2d::dense(BATCH, 128, 10), Activation::Linear, how)?;
    let images = numbers(conv1.shape.input_len());
    let gradient = numbers(BATCH * 10);
    let mut flat = vec![0.0; block2.output.len()];
    let mut flat_gradient = flat.clone();
    let mut hidden_gradient = vec![0.0; dense1.output.len()];
    let (mut gradient2, mut gradient1) = (
        vec![0.0; block2.output.len()],
        vec![0.0; block1.output.len()],
    );

    let names = [
        "conv1 forward",
        "block1 forward",
        "conv2 forward",
        "block2 forward",
        "flatten",
        "dense forward",
        "dense backward",
        "unflatten",
        "block2 reduce",
        "conv2 backward, block2",
        "block1 reduce",
        "conv1 backward, block1",
    ];
    let backward = |layer: &Layer| 2 * layer.shape.multiply_adds();
    let dense = dense1.shape.multiply_adds() + dense2.shape.multiply_adds();
    let work = [
        conv1.shape.multiply_adds(),
        0,
        conv2.shape.multiply_adds(),
        0,
        0,
        dense,
        2 * dense,
        0,
        0,
        backward(&conv2),
        0,
        conv1.shape.multiply_adds(),
    ];
    let mut times = vec![f64::INFINITY; names.len()];
    let mut step = 0;
    let whole = least(4.0 * how.seconds, || {
        let mut at = 0;
        let mut clock = Instant::now();
        let mut lap = || {
            times[at] = f64::min(times[at], clock.elapsed().as_secs_f64() * 1e3);
            (at, clock) = (at + 1, Instant::now());
        };
        step += 1;
        let dropouts = [1, 2].map(|seed| Dropout::new(0.5, seed, step).expect("a valid rate"));
        conv1.forward(&images);
        lap();
        block1.forward(&conv1.output, &dropouts[0]);
        lap();
        conv2.forward(&block1.output);
        lap();
        block2.forward(&conv2.output, &dropouts[1]);
        lap();
        // Channels last to first is the same transposition with the sizes exchanged.
        nchw_to_nhwc(BATCH, filters, pixels, &block2.output, &mut flat);
        lap();
        dense1.forward(&flat);
        dense2.forward(&dense1.output);
        lap();
        dense2.backward(&dense1.output, &gradient, &mut hidden_gradient);
        dense1.backward(&flat, &hidden_gradient, &mut flat_gradient);
        lap();
        nchw_to_nhwc(BATCH, pixels, filters, &flat_gradient, &mut gradient2);
        lap();
        let conv2_output = std::mem::take(&mut conv2.output);
        let through = block2.backward(&conv2_output, &gradient2);
        lap();
        conv2.backward_norm_pool(&block1.output, &through, Some(&mut gradient1));
        lap();
        let conv1_output = std::mem::take(&mut conv1.output);
        let through = block1.backward(&conv1_output, &gradient1);
        lap();
        conv1.backward_norm_pool(&images, &through, None);
        lap();
        conv1.output = conv1_output;
        conv2.output = conv2_output;
    });
    println!("Training step, {kernel}x{kernel}x{filters}, batch {BATCH}");
    for ((name, time), work) in names.iter().zip(&times).zip(work) {
        line(name, *time, work);
    }
    line("sum of the least", times.iter().sum(), 0);
    line("whole step", whole, work.iter().sum());
    println!();
    Ok(())
}

/// VGG16's thirteen convolutions.
fn vgg16(how: How) -> Result<(), ShapeError> {
    const BATCH: usize = 32;
    println!("VGG16 convolutions, forward, 32x32, batch {BATCH}");
    let (mut time, mut work) = (0.0, 0);
    let mut channels = 3;
    for (block, (size, filters, count)) in [
        (32, 64, 2),
        (16, 128, 2),
        (8, 256, 3),
        (4, 512, 3),
        (2, 512, 3),
    ]
    .into_iter()
    .enumerate()
    {
        for index in 0..count {
            let sizes = Conv2d::new([BATCH, size, size, channels], filters, [3, 3]);
            let shape = how.shape(sizes.padded(1))?;
            let (input, bias) = (numbers(shape.input_len()), numbers(filters));
            let weights = numbers(shape.weights_len());
            let mut output = vec![0.0; shape.output_len()];
            let milliseconds = least(how.seconds, || {
                conv2d_forward(
                    &shape,
                    &input,
                    &weights,
                    &Epilogue {
                        bias: Some(&bias),
                        activation: Activation::Relu,
                        ..Epilogue::default()
                    },
                    &mut output,
                );
            });
            line(
                &format!("block{}_conv{}", block + 1, index + 1),
                milliseconds,
                shape.multiply_adds(),
            );
            (time, work, channels) = (time + milliseconds, work + shape.multiply_adds(), filters);
        }
    }
    line("all", time, work);
    println!(
        "  {:.0} images/s, {:.3} GMAC an image",
        1e3 * BATCH as f64 / time,
        work as f64 / BATCH as f64 / 1e9
    );
    Ok(())
}
