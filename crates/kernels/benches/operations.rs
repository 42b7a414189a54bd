//! Each operation at the sizes of the report's largest CNN (5x5, 64 filters, batch 128), depthwise
//! convolutions at those of `MobileNetV2` and `EfficientNet` (batch 32), by the
//! kernels and by Burn's own operations: `just bench-kernels`.
//!
//! "forward" keeps nothing for a gradient; "step" is the forward pass and all gradients, by Burn
//! with its autodiff, so that what autodiff costs is part of what it is compared with.

use std::hint::black_box;

use burn::module::Param;
use burn::nn::conv::{Conv2d as BurnConv2d, Conv2dConfig};
use burn::nn::pool::MaxPool2dConfig;
use burn::nn::{BatchNormConfig, DropoutConfig, LinearConfig, PaddingConfig2d};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Distribution, Tensor};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use kiln_kernels::{
    Activation, Adam, Conv2d, Conv2dGradients, Conv2dShape, Dropout, Epilogue, Norm, NormPool,
    NormPoolGradient, NormPoolShape, NormPoolState, NormPoolSteps, OutputGradient, Pool2d,
    ShapeError, Statistics, adam, conv2d_backward, conv2d_forward, norm_pool_forward,
};

const BATCH: usize = 128;

/// Numbers in [-0.5, 0.5).
fn numbers(count: usize) -> Vec<f32> {
    (0..count)
        .map(|i| (i * 7919 % 1000) as f32 / 1000.0 - 0.5)
        .collect()
}

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Uniform(-0.5, 0.5), device)
}

/// A convolution or dense layer with `ReLU`.
struct Layer {
    shape: Conv2dShape,
    input: Vec<f32>,
    weights: Vec<f32>,
    bias: Vec<f32>,
    output: Vec<f32>,
    /// Of the output, then of input, weights and bias.
    gradients: [Vec<f32>; 4],
}

impl Layer {
    fn new(conv: Conv2d) -> Result<Self, ShapeError> {
        let shape = conv.checked()?;
        let (input, weights, bias) = (
            numbers(shape.input_len()),
            numbers(shape.weights_len()),
            numbers(shape.filters),
        );
        let output = vec![0.0; shape.output_len()];
        let zeros = |values: &Vec<f32>| vec![0.0; values.len()];
        let gradients = [
            numbers(output.len()),
            zeros(&input),
            zeros(&weights),
            zeros(&bias),
        ];
        Ok(Self {
            shape,
            input,
            weights,
            bias,
            output,
            gradients,
        })
    }

    fn forward(&mut self) {
        let epilogue = Epilogue {
            bias: Some(&self.bias),
            activation: Activation::Relu,
            ..Epilogue::default()
        };
        conv2d_forward(
            &self.shape,
            &self.input,
            &self.weights,
            &epilogue,
            &mut self.output,
        );
    }

    fn step(&mut self) {
        self.forward();
        let [gradient, input, weights, bias] = &mut self.gradients;
        let gradients = Conv2dGradients {
            input: Some(input),
            weights: Some(weights),
            bias: Some(bias),
        };
        let gradient = OutputGradient::Activated {
            activation: Activation::Relu,
            gradient,
            output: &self.output,
        };
        conv2d_backward(
            &self.shape,
            &self.input,
            &self.weights,
            &gradient,
            gradients,
        );
    }
}

fn convolution(c: &mut Criterion, name: &str, sizes: Conv2d) {
    let Conv2d {
        batch,
        height,
        width,
        channels,
        filters,
        padding,
        ..
    } = sizes;
    let mut group = group(c, name);
    let mut ours = Layer::new(sizes).expect("sizes that fit together");
    group.bench_function("forward, kernels", |b| b.iter(|| ours.forward()));
    let build = |device: &Device| -> (BurnConv2d, Tensor<4>) {
        let [top, left, bottom, right] = padding;
        let conv = Conv2dConfig::new([channels, filters], sizes.kernel)
            .with_stride(sizes.stride)
            .with_padding(PaddingConfig2d::Explicit(top, left, bottom, right))
            .with_groups(sizes.groups)
            .init(device);
        (conv, random([batch, channels, height, width], device))
    };
    let (conv, input) = build(&Device::flex());
    group.bench_function("forward, Burn", |b| {
        b.iter(|| black_box(relu(conv.forward(input.clone()))))
    });
    group.bench_function("step, kernels", |b| b.iter(|| ours.step()));
    let (conv, input) = build(&Device::flex().autodiff());
    let input = input.require_grad();
    let [rows, columns] = ours.shape.output();
    let gradient = random([batch, filters, rows, columns], &Device::flex().autodiff());
    group.bench_function("step, Burn", |b| {
        b.iter(|| {
            black_box(
                (relu(conv.forward(input.clone())) * gradient.clone())
                    .sum()
                    .backward(),
            )
        });
    });
}

fn dense(c: &mut Criterion) {
    let (inputs, outputs) = (1024, 128);
    let mut group = group(c, "dense 1024 to 128, ReLU");
    let mut ours =
        Layer::new(Conv2d::dense(BATCH, inputs, outputs)).expect("sizes that fit together");
    group.bench_function("step, kernels", |b| b.iter(|| ours.step()));
    let device = Device::flex().autodiff();
    let linear = LinearConfig::new(inputs, outputs).init(&device);
    let (input, gradient) = (
        random([BATCH, inputs], &device).require_grad(),
        random([BATCH, outputs], &device),
    );
    group.bench_function("step, Burn", |b| {
        b.iter(|| {
            black_box(
                (relu(linear.forward(input.clone())) * gradient.clone())
                    .sum()
                    .backward(),
            )
        });
    });
}

/// Batch normalization, 2x2 pooling and dropout.
struct Tail {
    shape: NormPoolShape,
    input: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    output: Vec<f32>,
    gradient: Vec<f32>,
    to_input: Vec<f32>,
    state: NormPoolState,
}

impl Tail {
    fn new(pool: NormPool) -> Result<Self, ShapeError> {
        let shape = pool.checked()?;
        Ok(Self {
            input: numbers(shape.input_len()),
            gamma: vec![1.0; shape.channels],
            beta: vec![0.0; shape.channels],
            output: vec![0.0; shape.output_len()],
            gradient: numbers(shape.output_len()),
            to_input: vec![0.0; shape.input_len()],
            state: NormPoolState::default(),
            shape,
        })
    }

    fn step(&mut self, dropout: &Dropout) {
        let norm = Norm {
            gamma: &self.gamma,
            beta: &self.beta,
            epsilon: 1e-3,
            statistics: Statistics::Batch,
        };
        let steps = NormPoolSteps {
            norm: Some(norm),
            dropout: Some(*dropout),
            ..NormPoolSteps::default()
        };
        norm_pool_forward(
            &self.shape,
            &steps,
            &self.input,
            &mut self.output,
            &mut self.state,
        );
        let gamma = Some(&self.gamma[..]);
        NormPoolGradient::new(&self.shape, gamma, &self.input, &self.state, &self.gradient)
            .write(&mut self.to_input);
    }
}

fn tail(c: &mut Criterion) {
    let (size, channels) = (26, 32);
    let mut group = group(c, "batch norm, pool, dropout 26x26x32");
    let pool = NormPool {
        batch: BATCH,
        height: size,
        width: size,
        channels,
        pool: Pool2d::square(2),
    };
    let mut ours = Tail::new(pool).expect("sizes that fit together");
    let mut step = 0;
    group.bench_function("step, kernels", |b| {
        b.iter(|| {
            step += 1;
            ours.step(&Dropout::new(0.5, 1, step).expect("a valid rate"));
        });
    });
    let device = Device::flex().autodiff();
    let norm = BatchNormConfig::new(channels).init(&device);
    let pool = MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init();
    let dropout = DropoutConfig::new(0.5).init();
    let input = random([BATCH, channels, size, size], &device).require_grad();
    let gradient = random([BATCH, channels, size / 2, size / 2], &device);
    group.bench_function("step, Burn", |b| {
        b.iter(|| {
            let output = dropout.forward(pool.forward(norm.forward(input.clone())));
            black_box((output * gradient.clone()).sum().backward())
        });
    });
}

fn optimizer(c: &mut Criterion) {
    const COUNT: usize = 1 << 20;
    let mut group = group(c, "Adam, 1,048,576 parameters");
    let (gradient, mut parameter) = (numbers(COUNT), numbers(COUNT));
    let (mut first, mut second) = (vec![0.0; COUNT], vec![0.0; COUNT]);
    let mut step = Adam {
        learning_rate: 1e-3,
        beta_1: 0.9,
        beta_2: 0.999,
        epsilon: 1e-7,
        weight_decay: 0.0,
        step: 0,
    };
    group.bench_function("kernels", |b| {
        b.iter(|| {
            step.step += 1;
            adam(&step, &gradient, &mut parameter, &mut first, &mut second);
        });
    });
    let device = Device::flex().autodiff();
    let mut linear = LinearConfig::new(1024, 1024).with_bias(false).init(&device);
    linear.weight = Param::from_tensor(random([1024, 1024], &device));
    let mut optimizer = AdamConfig::new().init();
    let gradients = linear.weight.val().sum().backward();
    let gradient = linear
        .weight
        .val()
        .grad(&gradients)
        .expect("the parameter is trained");
    group.bench_function("Burn", |b| {
        b.iter(|| {
            let mut gradients = GradientsParams::new();
            gradients.register(linear.weight.id, gradient.clone());
            linear = optimizer.step(1e-3, linear.clone(), gradients);
        });
    });
}

fn group<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.sample_size(20);
    group
}

fn operations(c: &mut Criterion) {
    let plain = |size, channels, filters, kernel| {
        Conv2d::new([BATCH, size, size, channels], filters, [kernel; 2])
    };
    convolution(c, "conv 3x3x32 of 28x28x1, ReLU", plain(28, 1, 32, 3));
    convolution(c, "conv 5x5x64 of 13x13x32, ReLU", plain(13, 32, 64, 5));
    for (size, channels, kernel, stride) in [
        (32, 96, 3, 1),
        (32, 96, 3, 2),
        (16, 192, 3, 1),
        (4, 960, 3, 1),
        (8, 480, 5, 1),
    ] {
        let name = format!(
            "depthwise {kernel}x{kernel} of {size}x{size}x{channels}, stride {stride}, ReLU"
        );
        let sizes = Conv2d {
            stride: [stride; 2],
            groups: channels,
            ..Conv2d::new([32, size, size, channels], channels, [kernel; 2])
        };
        convolution(c, &name, sizes.padded(kernel / 2));
    }
    tail(c);
    dense(c);
    optimizer(c);
}

criterion_group!(benches, operations);
criterion_main!(benches);
