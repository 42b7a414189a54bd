//! The plan: which layers run together, and how one fused operation runs a sequence of them.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use burn::module::Param;
use burn::nn::BatchNorm;
use burn::tensor::{Tensor, TensorData};
use kiln_kernels::{Activation as Fused, Conv2d, Dropout, NormPool, Pool2d, Products};
use kiln_model::{Activation, Layer, LayerKind, MaxPool, SegmentLayer, Shape};

use super::block::Block;
use super::graph::Graph;
use super::{Activations, DropoutKey, graph};
use crate::TrainError;
use crate::fused::{
    Buffers, Epilogue, Operation, Parameter, Parameters, Pool, Program, Statistics, fused,
};

/// How consecutive layers run, in order. Displayed as a table: one line a step, its layers joined
/// by `+`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    pub(super) steps: Vec<Step>,
    names: Vec<String>,
}

/// What runs at once.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// One layer by the device's general operations.
    General(usize),
    /// A sequence by one fused operation of kiln's kernels.
    Fused(Box<Sequence>),
    /// Segments of a graph by a program of kiln's kernels.
    Program(Box<Routine>),
}

/// Layers that are segments, and the program that computes them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Routine {
    pub layers: Range<usize>,
    pub program: Arc<Program>,
}

/// Layers that one fused operation covers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sequence {
    /// The layers.
    pub layers: Range<usize>,
    /// Sizes of the convolution, or of the dense layer as one of 1×1 images. The batch is 1 here
    /// and below.
    pub conv: Option<Conv2d>,
    /// Follows the convolution, inside the operation.
    pub activation: Fused,
    /// Follows the convolution by the device's general operations; then nothing else does.
    pub next: Option<Activation>,
    /// Sizes of what follows, if anything does.
    pub epilogue: Option<NormPool>,
    /// The layer that normalizes.
    pub norm: Option<usize>,
    /// Follows the normalization, inside the operation.
    pub norm_activation: Fused,
    /// The layer that drops.
    pub dropout: Option<usize>,
    /// How the convolution multiplies in training.
    pub products: Products,
}

impl Plan {
    /// Every layer for itself.
    pub fn general(layers: &[Layer]) -> Self {
        Self {
            steps: (0..layers.len()).map(Step::General).collect(),
            names: names(layers),
        }
    }

    /// The longest sequences that a fused operation covers, and every other layer for itself.
    pub fn fused(layers: &[Layer]) -> Self {
        let mut steps = Vec::new();
        let mut at = 0;
        while at < layers.len() {
            let sequence = || Sequence::longest(layers, at).map(|it| Step::Fused(Box::new(it)));
            let step = Routine::longest(layers, at).map(|it| Step::Program(Box::new(it)));
            let step = step.or_else(sequence).unwrap_or(Step::General(at));
            at = step.layers().end;
            steps.push(step);
        }
        Self {
            steps,
            names: names(layers),
        }
    }

    /// The plan with such products of convolutions and dense layers in training, where kiln's kernels run them.
    pub(super) fn with_products(mut self, products: Products) -> Self {
        for step in &mut self.steps {
            match step {
                Step::General(_) => {}
                Step::Fused(sequence) => sequence.products = products,
                Step::Program(routine) => Arc::make_mut(&mut routine.program).products = products,
            }
        }
        self
    }
}

impl Step {
    /// The layers.
    pub fn layers(&self) -> Range<usize> {
        match self {
            Self::General(at) => *at..at + 1,
            Self::Fused(sequence) => sequence.layers.clone(),
            Self::Program(routine) => routine.layers.clone(),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            let how = match step {
                Step::Fused(_) | Step::Program(_) => "fused",
                Step::General(_) => "general",
            };
            writeln!(f, "{how:8} {}", self.names[step.layers()].join(" + "))?;
        }
        Ok(())
    }
}

impl Routine {
    /// The program of the segment `first` and of the plain layers after it, those of one node, as
    /// far as kiln's kernels know them. Another block begins another program.
    fn longest(layers: &[Layer], first: usize) -> Option<Self> {
        let sample = layers.get(first)?.input.dims();
        let mut parts: Vec<graph::Part<'_>> = Vec::new();
        let mut found = None;
        for layer in &layers[first..] {
            let Some(graph) = graph_of(layer) else {
                break;
            };
            if !parts.is_empty() && graph.segment.nodes.len() > 1 {
                break;
            }
            parts.push(graph::Part {
                layer: graph,
                frozen: layer.frozen,
            });
            let Some(program) = graph::plan(&parts, &sample) else {
                break;
            };
            let layers = first..first + parts.len();
            let program = Arc::new(program);
            found = Some(Self { layers, program });
        }
        found
    }
}

/// The graph that a layer is, if it is one.
fn graph_of(layer: &Layer) -> Option<Cow<'_, SegmentLayer>> {
    match &layer.kind {
        LayerKind::Segment(graph) => Some(Cow::Borrowed(graph)),
        kind => kind.segment(&layer.name, layer.input).map(Cow::Owned),
    }
}

impl Sequence {
    /// The longest sequence that begins with layer `first`, if any does.
    fn longest(layers: &[Layer], first: usize) -> Option<Self> {
        if matches!(layers.get(first)?.input, Shape::Tokens { .. }) {
            return None;
        }
        let mut rest = Rest { layers, at: first };
        let conv = rest.take(convolution);
        let (mut activation, mut next) = (Fused::Linear, None);
        match conv.and_then(|(_, conv)| conv.activation) {
            // The loss contains it.
            Some(Activation::Softmax) => {}
            Some(own) => match kernel(own) {
                Some(known) => activation = known,
                None => next = Some(own),
            },
            None if conv.is_some() => {
                let own = rest.take(clipping);
                activation = own.map_or(Fused::Linear, |(_, own)| own);
            }
            None => {}
        }
        if next.is_some() {
            rest.layers = &layers[..rest.at];
        }
        let input = rest
            .layers
            .get(rest.at)
            .map_or(Shape::Vector(1), |layer| layer.input);
        let norm = rest.take(|layer| matches!(layer.kind, LayerKind::BatchNorm(_)).then_some(()));
        let norm_activation = norm.and_then(|_| rest.take(clipping));
        let norm_activation = norm_activation.map_or(Fused::Linear, |(_, own)| own);
        let pool = rest.take(pool);
        let dropout = rest.take(|layer| matches!(layer.kind, LayerKind::Dropout(_)).then_some(()));
        let epilogue = (norm.is_some() || pool.is_some() || dropout.is_some()).then(|| {
            let (channels, height, width) = match input {
                Shape::Image {
                    channels,
                    height,
                    width,
                } => (channels, height, width),
                Shape::Vector(features) => (features, 1, 1),
                Shape::Tokens { count, features } => (features, count, 1),
            };
            NormPool {
                batch: 1,
                height,
                width,
                channels,
                pool: pool.map_or(Pool2d::square(1), |(_, pool)| pool),
            }
        });
        let conv = conv.map(|(_, conv)| conv.sizes);
        let known = conv.is_none_or(|conv| conv.checked().is_ok())
            && epilogue.is_none_or(|epilogue| epilogue.checked().is_ok());
        (known && rest.at > first).then(|| Self {
            layers: first..rest.at,
            conv,
            activation,
            next,
            epilogue,
            norm: norm.map(|(at, ())| at),
            norm_activation,
            dropout: dropout.map(|(at, ())| at),
            products: Products::default(),
        })
    }
}

/// The layers from `at` on.
struct Rest<'a> {
    layers: &'a [Layer],
    at: usize,
}

impl Rest<'_> {
    /// Goes on by a layer if `read` knows it; gives its place and what was read.
    fn take<T>(&mut self, read: impl Fn(&Layer) -> Option<T>) -> Option<(usize, T)> {
        let found = read(self.layers.get(self.at)?)?;
        self.at += 1;
        Some((self.at - 1, found))
    }
}

#[derive(Clone, Copy)]
struct Convolution {
    sizes: Conv2d,
    activation: Option<Activation>,
}

fn convolution(layer: &Layer) -> Option<Convolution> {
    if let LayerKind::Conv2d(settings) = &layer.kind
        && let Shape::Image {
            channels,
            height,
            width,
        } = layer.input
    {
        let pads = settings.pads([height, width]);
        let input = [1, height, width, channels];
        let sizes = Conv2d {
            stride: settings.strides,
            padding: [pads.top, pads.left, pads.bottom, pads.right],
            dilation: settings.dilation_rate,
            groups: settings.groups,
            ..Conv2d::new(input, settings.filters, settings.kernel_size)
        };
        return Some(Convolution {
            sizes,
            activation: settings.activation,
        });
    }
    if let LayerKind::Dense(settings) = &layer.kind
        && let Shape::Vector(inputs) = layer.input
    {
        return Some(Convolution {
            sizes: Conv2d::dense(1, inputs, settings.units),
            activation: settings.activation,
        });
    }
    None
}

/// The activation that a layer is, if kiln's kernels apply it to a result.
fn clipping(layer: &Layer) -> Option<Fused> {
    match &layer.kind {
        LayerKind::Relu(_) => Some(Fused::Relu),
        LayerKind::Activation(layer) => kernel(layer.activation),
        _ => None,
    }
}

fn kernel(activation: Activation) -> Option<Fused> {
    match activation {
        Activation::Relu => Some(Fused::Relu),
        Activation::Relu6 => Some(Fused::Relu6),
        Activation::LeakyRelu
        | Activation::Sigmoid
        | Activation::Tanh
        | Activation::Gelu
        | Activation::Silu
        | Activation::HardSigmoid
        | Activation::HardSwish
        | Activation::Softmax => None,
    }
}

fn pool(layer: &Layer) -> Option<Pool2d> {
    let LayerKind::MaxPool(MaxPool(pool)) = &layer.kind else {
        return None;
    };
    let pads = pool.pads(layer.image_size().ok()?);
    Some(Pool2d {
        window: pool.pool_size,
        stride: pool.strides,
        padding: [pads.top, pads.left, pads.bottom, pads.right],
    })
}

fn names(layers: &[Layer]) -> Vec<String> {
    layers.iter().map(|layer| layer.name.clone()).collect()
}

/// Runs the sequence; `blocks` are all of the network's.
pub fn run(
    sequence: &Sequence,
    blocks: &[Block],
    buffers: &Buffers,
    input: Activations,
    key: DropoutKey,
) -> Result<Activations, TrainError> {
    let output = match input {
        Activations::Image(image) => {
            Activations::Image(forward(sequence, blocks, buffers, image, key)?)
        }
        Activations::Vector(vector) => {
            Activations::Vector(forward(sequence, blocks, buffers, vector, key)?)
        }
        Activations::Tokens(_) => return Err(TrainError::Plan(sequence.layers.start)),
    };
    Ok(output.activate(sequence.next))
}

/// Runs the segments; `blocks` are all of the network's.
pub fn run_program(
    routine: &Routine,
    blocks: &[Block],
    pool: &Pool,
    input: Activations,
    key: DropoutKey,
) -> Result<Activations, TrainError> {
    let layers = routine.layers.clone();
    let key = key.inside(layers.start);
    let graphs: Vec<&Graph> = layers
        .map(|at| blocks[at].segment().ok_or(TrainError::Plan(at)))
        .collect::<Result<_, _>>()?;
    graph::run(&graphs, &routine.program, pool, input, key)
}

fn forward<const D: usize>(
    sequence: &Sequence,
    blocks: &[Block],
    buffers: &Buffers,
    x: Tensor<D>,
    key: DropoutKey,
) -> Result<Tensor<D>, TrainError> {
    let training = x.device().is_autodiff();
    let batch = x.dims()[0];
    let norm = sequence
        .norm
        .map(|at| blocks[at].batch_norm().ok_or(TrainError::Plan(at)))
        .transpose()?;
    let dropout = sequence
        .dropout
        .map(|at| {
            let dropout = blocks[at].dropout().ok_or(TrainError::Plan(at))?;
            let active = training && dropout.training.is_enabled() && dropout.prob > 0.0;
            let drawn = active.then(|| Dropout::new(dropout.prob, key.seed_of(at), key.step));
            Ok::<_, TrainError>(drawn.transpose()?)
        })
        .transpose()?
        .flatten();
    let epilogue = |sizes| -> Result<Epilogue, TrainError> {
        let shape = kiln_kernels::NormPool { batch, ..sizes };
        Ok(Epilogue {
            shape: shape.checked()?,
            epsilon: norm.map_or(0.0, |norm| norm.epsilon as f32),
            statistics: norm.map_or(Statistics::Batch, |norm| statistics(norm, training)),
            activation: sequence.norm_activation,
            dropout,
        })
    };
    let products = if training {
        sequence.products
    } else {
        Products::Float32
    };
    let sizes = |conv| Conv2d {
        batch,
        products,
        ..conv
    };
    let operation = Operation {
        conv: sequence
            .conv
            .map(|conv| sizes(conv).checked())
            .transpose()?,
        activation: sequence.activation,
        epilogue: sequence.epilogue.map(epilogue).transpose()?,
        buffers: buffers.clone(),
    };
    let (weight, bias) = match &blocks[sequence.layers.start] {
        Block::Conv2d(block) => (
            Some(block.conv.weight.val()).into(),
            block.conv.bias.as_ref().map(Param::val).into(),
        ),
        Block::Dense(block) => (
            Some(block.linear.weight.val()).into(),
            block.linear.bias.as_ref().map(Param::val).into(),
        ),
        Block::MaxPool(_)
        | Block::AvgPool(_)
        | Block::Bilinear(_)
        | Block::BatchNorm(_)
        | Block::Dropout(_)
        | Block::Stateless(_)
        | Block::Segment(_) => (Parameter::Absent, Parameter::Absent),
    };
    let gamma = norm.map(|norm| norm.gamma.val()).into();
    let beta = norm.map(|norm| norm.beta.val()).into();
    let (output, moments) = fused(
        x,
        Parameters {
            weight,
            bias,
            gamma,
            beta,
        },
        operation,
    );
    if let Some(norm) = norm.filter(|norm| training && norm.training.is_enabled()) {
        update(norm, moments);
    }
    Ok(output)
}

/// The mean and variance that a normalization uses.
fn statistics(norm: &BatchNorm, training: bool) -> Statistics {
    if training && norm.training.is_enabled() {
        return Statistics::Batch;
    }
    let values = |tensor: Tensor<1>| {
        tensor
            .try_into_vec_as::<f32>()
            .expect("statistics are f32")
            .into()
    };
    Statistics::Running {
        mean: values(norm.running_mean.value_sync()),
        variance: values(norm.running_var.value_sync()),
    }
}

/// Moves the running statistics towards the batch's, as [`BatchNorm`] itself does.
fn update(norm: &BatchNorm, moments: [Vec<f32>; 2]) {
    for (running, batch) in [&norm.running_mean, &norm.running_var]
        .into_iter()
        .zip(moments)
    {
        let value = running.value_sync();
        let batch = Tensor::<1>::from_data(TensorData::from(&batch[..]), &value.device());
        running.update((value * (1.0 - norm.momentum) + batch * norm.momentum).detach());
    }
}

#[cfg(test)]
mod tests {
    use kiln_model::Recipe;

    use super::*;

    fn plan(layers: &str) -> String {
        let recipe = Recipe::parse(&format!("layers = [{layers}]"), "t.toml", "t", &[]).unwrap();
        Plan::fused(recipe.model().layers()).to_string()
    }

    #[test]
    fn the_reports_network_is_five_steps() {
        let block = "{ type = \"conv2d\", filters = 4, kernel_size = 3, activation = \"relu\" }, { type = \"batch_norm\" }, \
            { type = \"max_pool\" }, { type = \"dropout\", rate = 0.5 },";
        let head = "{ type = \"flatten\" }, { type = \"dense\", units = 8, activation = \"relu\" }, { type = \"dense\", units = 10 }";
        let expected = "fused    conv2d + batch_norm + max_pool + dropout\n\
            fused    conv2d_1 + batch_norm_1 + max_pool_1 + dropout_1\n\
            general  flatten\n\
            fused    dense\n\
            fused    dense_1\n";
        assert_eq!(plan(&format!("{block} {block} {head}")), expected);
    }

    #[test]
    fn other_orders_are_cut_where_the_operation_ends() {
        let found = plan(
            "{ type = \"relu\" }, { type = \"conv2d\", filters = 4, kernel_size = 3 }, { type = \"batch_norm\" }, { type = \"relu\" }, \
            { type = \"max_pool\" }, { type = \"batch_norm\" }, { type = \"conv2d\", filters = 4, kernel_size = 3 }, { type = \"relu\" }, \
            { type = \"dropout\", rate = 0.5 }, { type = \"flatten\" }, { type = \"dense\", units = 10, activation = \"softmax\" }",
        );
        let expected = "general  relu\n\
            fused    conv2d + batch_norm + relu_1 + max_pool\n\
            fused    batch_norm_1\n\
            fused    conv2d_1 + relu_2 + dropout\n\
            general  flatten\n\
            fused    dense\n";
        assert_eq!(found, expected);
    }
}
