//! From operations to ONNX nodes, and the reasons why an export fails.

use std::borrow::Cow;

use kiln_model::{Activation, Interpolation, Pads, ParamRole};
use kiln_onnx::GraphBuilder;
use kiln_run::{Weights, WeightsError};

use crate::lower::{Folded, Op, Step};

/// A model that cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Weights that are not the model's.
    #[error(transparent)]
    Weights(#[from] kiln_run::WeightsError),
    /// A weight that is infinite or not a number.
    #[error(
        "tensor `{0}` holds a value that is not finite: the training diverged; lower the learning rate"
    )]
    NotFinite(String),
    /// Not as many labels as classes.
    #[error(
        "the model has {classes} classes, but there are {labels} labels: give one label per class"
    )]
    Labels {
        /// The model's.
        classes: usize,
        /// Those given.
        labels: usize,
    },
    /// A first layer after the last one.
    #[error(
        "there is no layer {0} to begin with: give the number of one of the model's layers, counted from 0"
    )]
    NoLayer(usize),
    /// A layer that is a part of a file: only a graft has it.
    #[error(
        "the layer `{0}` is a part of the backbone's file: the head is to be grafted onto that"
    )]
    InFile(String),
    /// Pixels as input of a graph whose input is not an image.
    #[error(
        "the graph begins with layer {0}, whose input is not an image: pixels go into the first layer only"
    )]
    PixelsAfter(usize),
    /// A layer of images that takes vectors.
    #[error(transparent)]
    Shape(#[from] kiln_model::ShapeError),
    /// A malformed graph: a mistake in this crate.
    #[error(
        "the exported graph is not valid: {0}. This is a bug in kiln, please report it with the recipe"
    )]
    Graph(#[from] kiln_onnx::BuildError),
}

/// Writes the node of a step, named after its layer.
pub fn emit(
    graph: &mut GraphBuilder,
    step: &Step<'_>,
    input: &str,
    output: &str,
    weights: &Weights,
) -> Result<(), ExportError> {
    let node = &step.name();
    match step.op {
        Op::Conv(conv) => {
            let (weight, bias) = parameters(graph, step, conv.use_bias, weights)?;
            let pads = conv.pads(step.layer.image_size()?);
            let inputs: Vec<&str> = [Some(input), Some(&weight), bias.as_deref()]
                .into_iter()
                .flatten()
                .collect();
            graph
                .node("Conv", node, &inputs, output)
                .ints("dilations", conv.dilation_rate.map(|n| n as i64))
                .int("group", conv.groups as i64)
                .ints("kernel_shape", conv.kernel_size.map(|n| n as i64))
                .ints("pads", begins_and_ends(pads))
                .ints("strides", conv.strides.map(|n| n as i64));
        }
        Op::Gemm { bias } => {
            let (weight, bias) = parameters(graph, step, bias, weights)?;
            let inputs: Vec<&str> = [Some(input), Some(&weight), bias.as_deref()]
                .into_iter()
                .flatten()
                .collect();
            graph.node("Gemm", node, &inputs, output).int("transB", 1);
        }
        Op::BatchNormalization { epsilon } => {
            let mut inputs = vec![input.to_string()];
            for role in [
                ParamRole::Weight,
                ParamRole::Bias,
                ParamRole::RunningMean,
                ParamRole::RunningVar,
            ] {
                let name = role.of(&step.layer.name);
                let tensor = weights.require(&name)?;
                graph.initializer(&name, &tensor.shape, &tensor.data[..]);
                inputs.push(name);
            }
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            graph
                .node("BatchNormalization", node, &inputs, output)
                .float("epsilon", epsilon as f32);
        }
        Op::Pool(op, pool) => {
            let pads = pool.pads(step.layer.image_size()?);
            let node = &mut graph.node(op, node, &[input], output);
            node.ints("kernel_shape", pool.pool_size.map(|n| n as i64))
                .ints("strides", pool.strides.map(|n| n as i64));
            // ONNX's defaults: no padding, and means that leave it out.
            if pads != Pads::default() {
                node.ints("pads", begins_and_ends(pads));
            }
        }
        Op::GlobalMaxPool => {
            graph.node("GlobalMaxPool", node, &[input], output);
        }
        Op::GlobalAveragePool => {
            graph.node("GlobalAveragePool", node, &[input], output);
        }
        Op::ReduceMax => {
            let axes = format!("{node}.axes");
            graph.initializer(&axes, &[1], vec![1_i64]);
            graph
                .node("ReduceMax", node, &[input, &axes], output)
                .int("keepdims", 1);
        }
        Op::Reshape(target) => {
            let shape = format!("{node}.shape");
            // 0: the batch stays what it is.
            let values: Vec<i64> = std::iter::once(0)
                .chain(target.dims().into_iter().map(|dim| dim as i64))
                .collect();
            graph.initializer(&shape, &[values.len()], values);
            graph.node("Reshape", node, &[input, &shape], output);
        }
        Op::Resize(resize) => {
            let sizes = format!("{node}.sizes");
            graph.initializer(
                &sizes,
                &[2],
                vec![resize.height as i64, resize.width as i64],
            );
            let resized = &mut graph.node("Resize", node, &[input, "", "", &sizes], output);
            resized
                .ints("axes", [2, 3])
                .string("coordinate_transformation_mode", "half_pixel");
            match resize.interpolation {
                Interpolation::Bilinear => resized.string("mode", "linear"),
                // The area in which the point lies: TensorFlow's rule.
                Interpolation::Nearest => resized
                    .string("mode", "nearest")
                    .string("nearest_mode", "round_prefer_ceil"),
            };
        }
        Op::Flatten => {
            graph.node("Flatten", node, &[input], output).int("axis", 1);
        }
        Op::Activation(function) => activation(graph, function, node, input, output),
    }
    Ok(())
}

/// Pads in ONNX's order.
fn begins_and_ends(
    Pads {
        top,
        left,
        bottom,
        right,
    }: Pads,
) -> [i64; 4] {
    [top, left, bottom, right].map(|n| n as i64)
}

/// Writes an activation; opset 18 has neither `Gelu` nor `Silu`, which are written out.
pub fn activation(
    graph: &mut GraphBuilder,
    function: Activation,
    node: &str,
    input: &str,
    output: &str,
) {
    let part = |name: &str| format!("{node}.{name}");
    match function {
        Activation::Relu => {
            graph.node("Relu", node, &[input], output);
        }
        Activation::LeakyRelu => {
            graph
                .node("LeakyRelu", node, &[input], output)
                .float("alpha", Activation::LEAKY_RELU_SLOPE as f32);
        }
        Activation::Sigmoid => {
            graph.node("Sigmoid", node, &[input], output);
        }
        Activation::Tanh => {
            graph.node("Tanh", node, &[input], output);
        }
        Activation::Silu => {
            graph.node("Sigmoid", &part("sigmoid"), &[input], &part("sigmoid"));
            graph.node("Mul", node, &[input, &part("sigmoid")], output);
        }
        Activation::Gelu => {
            // x/2 · (1 + erf(x / √2))
            for (name, value) in [
                ("root", std::f32::consts::SQRT_2),
                ("one", 1.0),
                ("half", 0.5),
            ] {
                graph.initializer(&part(name), &[], vec![value]);
            }
            graph.node(
                "Div",
                &part("div"),
                &[input, &part("root")],
                &part("scaled"),
            );
            graph.node("Erf", &part("erf"), &[&part("scaled")], &part("erf"));
            graph.node(
                "Add",
                &part("add"),
                &[&part("erf"), &part("one")],
                &part("sum"),
            );
            graph.node(
                "Mul",
                &part("mul"),
                &[input, &part("half")],
                &part("halved"),
            );
            graph.node("Mul", node, &[&part("halved"), &part("sum")], output);
        }
        Activation::Softmax => {
            graph.node("Softmax", node, &[input], output).int("axis", 1);
        }
    }
}

/// Adds a layer's weight and bias, with the normalization after it folded in, and returns their
/// names.
fn parameters(
    graph: &mut GraphBuilder,
    step: &Step<'_>,
    use_bias: bool,
    weights: &Weights,
) -> Result<(String, Option<String>), ExportError> {
    let name = ParamRole::Weight.of(&step.layer.name);
    let weight = weights.require(&name)?;
    let bias_name = ParamRole::Bias.of(&step.layer.name);
    let bias = use_bias.then(|| weights.require(&bias_name)).transpose()?;
    let values = weight.data.as_slice();
    let bias = bias.map(|bias| bias.data.as_slice());
    let (values, bias) = match step.folded {
        None => (Cow::from(values), bias.map(Cow::from)),
        Some(norm) => {
            let (values, bias) = fold(norm, values, bias, weights)?;
            (Cow::from(values), Some(Cow::from(bias)))
        }
    };
    graph.initializer(&name, &weight.shape, values);
    let bias = bias.map(|bias| {
        graph.initializer(&bias_name, &[bias.len()], bias);
        bias_name
    });
    Ok((name, bias))
}

/// Weight and bias of a layer with the batch normalization after it folded in.
///
/// Normalization computes `(y - mean) / sqrt(var + epsilon) * weight + bias` of each output channel
/// `y`. With `factor = weight / sqrt(var + epsilon)`, the layer's weights become `w * factor` and
/// its bias `(b - mean) * factor + bias`. Computed in f64, rounded once.
fn fold(
    norm: Folded<'_>,
    weight: &[f32],
    bias: Option<&[f32]>,
    weights: &Weights,
) -> Result<(Vec<f32>, Vec<f32>), WeightsError> {
    let values = |role: ParamRole| {
        let tensor = weights.require(&role.of(&norm.layer.name))?;
        Ok::<_, WeightsError>(&tensor.data)
    };
    let gamma = values(ParamRole::Weight)?;
    let beta = values(ParamRole::Bias)?;
    let mean = values(ParamRole::RunningMean)?;
    let variance = values(ParamRole::RunningVar)?;
    let factor: Vec<f64> = gamma
        .iter()
        .zip(variance)
        .map(|(&gamma, &variance)| {
            f64::from(gamma) / (f64::from(variance) + norm.settings.epsilon).sqrt()
        })
        .collect();
    let per_channel = weight.len() / factor.len();
    let scaled = weight
        .chunks_exact(per_channel)
        .zip(&factor)
        .flat_map(|(row, factor)| row.iter().map(move |&w| (f64::from(w) * factor) as f32));
    let shifted = (0..factor.len()).map(|channel| {
        let old = bias.map_or(0.0, |bias| f64::from(bias[channel]));
        ((old - f64::from(mean[channel])) * factor[channel] + f64::from(beta[channel])) as f32
    });
    Ok((scaled.collect(), shifted.collect()))
}
