//! Operations to an ONNX graph.

use std::collections::BTreeMap;

use kiln_model::{Activation, Interpolation, LayerKind, Layout, Model, Pads, Preprocessing};
use kiln_onnx::{Dim, Golden, GraphBuilder, Metadata, ModelProto, OutputKind};
use kiln_run::Weights;

use crate::lower::{Op, Step, steps};
use crate::{ExportError, fold, pixels};

/// What the file is to contain besides the network.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Names of the classes, in the order of the output.
    pub labels: Vec<String>,
    /// Where the model comes from: recipe, seed, versions.
    pub provenance: BTreeMap<String, String>,
    /// End in a softmax: the output is then `probabilities` in place of `logits`.
    pub softmax: bool,
    /// The layer to begin with, counted from 0. Behind the first one, the input is `features`, what
    /// the layers before it give, and the file says nothing of preprocessing.
    pub first_layer: usize,
    /// Take pixels, uint8 `[batch, height, width, channels]`, and prepare them inside the graph:
    /// images of the model's size as they are decoded are then all that it needs.
    pub uint8_input: bool,
    /// Inputs with the scores that this graph gives for them.
    pub golden: Option<Golden>,
}

impl Options {
    /// What is left to do outside the graph.
    pub fn preprocessing(&self, model: &Model) -> Preprocessing {
        if self.uint8_input {
            model.preprocessing().pixels_only()
        } else {
            model.preprocessing().clone()
        }
    }
}

/// An exported model.
#[derive(Debug, Clone)]
pub struct Exported {
    /// The file's content.
    pub proto: ModelProto,
    /// For each layer that computes something, in order: its name, and the name of the graph's
    /// value that it gives.
    pub layers: Vec<(String, String)>,
}

/// Writes a model with its weights, or its layers from one on, as ONNX: opset 18, IR version 8,
/// input `input` `[batch, C, H, W]` f32 unless it is to take pixels, output `logits` `[batch,
/// classes]`.
pub fn export(
    model: &Model,
    weights: &Weights,
    options: &Options,
) -> Result<Exported, ExportError> {
    weights.check(model)?;
    if let Some((name, _)) = weights
        .iter()
        .find(|(_, tensor)| tensor.data.iter().any(|x| !x.is_finite()))
    {
        return Err(ExportError::NotFinite(name.clone()));
    }
    if options.labels.len() != model.classes() {
        return Err(ExportError::Labels {
            classes: model.classes(),
            labels: options.labels.len(),
        });
    }
    let mut graph = GraphBuilder::new("kiln");
    let mut layers = Vec::new();
    let layers_to_write = model
        .layers()
        .get(options.first_layer..)
        .unwrap_or_default();
    let Some(first) = layers_to_write.first() else {
        return Err(ExportError::NoLayers(options.first_layer));
    };
    let whole = options.first_layer == 0;
    let mut value = match (whole, options.uint8_input) {
        (true, true) => pixels::prepare(&mut graph, model.preprocessing()).to_string(),
        (false, true) => return Err(ExportError::PixelsBehind(options.first_layer)),
        (_, false) => {
            let name = if whole { "input" } else { "features" };
            graph.input(name, Dim::batched(first.input.dims()));
            name.to_string()
        }
    };
    // The class scores are the first output, whatever else is one.
    let classes = Dim::batched([model.classes()]);
    graph.output(
        if options.softmax {
            "probabilities"
        } else {
            "logits"
        },
        &classes,
    );
    let steps = steps(layers_to_write);
    for (at, step) in steps.iter().enumerate() {
        let output = if at + 1 == steps.len() {
            "logits".into()
        } else {
            value_name(step)
        };
        let node = node_name(step);
        emit(&mut graph, step, &node, &value, &output, weights)?;
        if let Some(name) = gives(step) {
            // Declared above if it is the last.
            if output != "logits" {
                graph.value_info(&output, Dim::batched(step.layer.output.dims()));
            }
            layers.push((name.to_string(), output.clone()));
        }
        value = output;
    }
    if options.softmax {
        graph.value_info("logits", &classes);
        graph
            .node("Softmax", "probabilities", &["logits"], "probabilities")
            .int("axis", 1);
    }
    let mut proto = graph.finish()?;
    proto.set_metadata(&Metadata {
        preprocessing: whole.then(|| options.preprocessing(model)),
        labels: Some(options.labels.clone()),
        layout: whole.then_some(if options.uint8_input {
            Layout::Nhwc
        } else {
            Layout::Nchw
        }),
        output: Some(if options.softmax {
            OutputKind::Probabilities
        } else {
            OutputKind::Logits
        }),
        provenance: options.provenance.clone(),
        golden: options.golden.clone(),
    });
    Ok(Exported { proto, layers })
}

/// The layer whose output a step gives, where it gives one.
fn gives<'a>(step: &Step<'a>) -> Option<&'a str> {
    step.folded
        .or(step.completes.then_some(step.layer))
        .map(|layer| layer.name.as_str())
}

/// A node is called after its layer; the second one of a layer has a suffix.
fn node_name(step: &Step<'_>) -> String {
    let name = &step.layer.name;
    match (step.op, &step.layer.kind) {
        (Op::Activation(activation), LayerKind::Conv2d(_) | LayerKind::Dense(_)) => {
            format!("{name}.{}", activation.as_str())
        }
        (Op::Flatten, LayerKind::GlobalMaxPool {} | LayerKind::GlobalAvgPool {}) => {
            format!("{name}.flatten")
        }
        _ => name.clone(),
    }
}

/// A layer's output is called after the layer, what comes before its activation `<layer>.linear`.
/// Layer names have no dot, so that the two cannot meet.
fn value_name(step: &Step<'_>) -> String {
    gives(step).map_or_else(|| format!("{}.linear", step.layer.name), str::to_string)
}

fn emit(
    graph: &mut GraphBuilder,
    step: &Step<'_>,
    node: &str,
    input: &str,
    output: &str,
    weights: &Weights,
) -> Result<(), ExportError> {
    match step.op {
        Op::Conv(conv) => {
            let (weight, bias) = parameters(graph, step, conv.use_bias, weights)?;
            let pads = conv.pads(step.layer.image_size());
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
            for parameter in ["weight", "bias", "running_mean", "running_var"] {
                let name = format!("{}.{parameter}", step.layer.name);
                let tensor = weights.require(&name)?;
                graph.initializer(&name, &tensor.shape, tensor.data.clone());
                inputs.push(name);
            }
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            graph
                .node("BatchNormalization", node, &inputs, output)
                .float("epsilon", epsilon as f32);
        }
        Op::MaxPool(pool) | Op::AveragePool(pool) => {
            let op = if matches!(step.op, Op::MaxPool(_)) {
                "MaxPool"
            } else {
                "AveragePool"
            };
            let pads = pool.pads(step.layer.image_size());
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
        Op::Reshape(dims) => {
            let shape = format!("{node}.shape");
            // 0: the batch stays what it is.
            let values: Vec<i64> = std::iter::once(0)
                .chain(dims.iter().map(|&dim| dim as i64))
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
        Op::Activation(activation) => activate(graph, activation, node, input, output),
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
fn activate(
    graph: &mut GraphBuilder,
    activation: Activation,
    node: &str,
    input: &str,
    output: &str,
) {
    let part = |name: &str| format!("{node}.{name}");
    match activation {
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
        Activation::Softmax => unreachable!("a softmax is no step"),
    }
}

/// Adds a layer's weight and bias and gives their names.
fn parameters(
    graph: &mut GraphBuilder,
    step: &Step<'_>,
    use_bias: bool,
    weights: &Weights,
) -> Result<(String, Option<String>), ExportError> {
    let (weight, bias) = fold::weight_and_bias(weights, step.layer, use_bias, step.folded)?;
    let name = |parameter: &str| format!("{}.{parameter}", step.layer.name);
    graph.initializer(&name("weight"), &weight.shape, weight.data);
    let bias = bias.map(|bias| {
        graph.initializer(&name("bias"), &bias.shape, bias.data);
        name("bias")
    });
    Ok((name("weight"), bias))
}

#[cfg(test)]
mod tests;
