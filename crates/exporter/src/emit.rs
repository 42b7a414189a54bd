//! From operations to ONNX nodes, and the reasons why an export fails.

use kiln_model::graph::{Op, Unary};
use kiln_model::{Interpolation, Resize2d};
use kiln_onnx::GraphBuilder;
use kiln_run::{BatchNormValues, Weights};

use crate::lower::{Folded, Operation, Source, Step};
use crate::operators::{OperatorError, write};

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
    /// An operator that the file's opset lacks: a mistake in this crate.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// A malformed graph: a mistake in this crate.
    #[error(
        "the exported graph is not valid: {0}. This is a bug in kiln, please report it with the recipe"
    )]
    Graph(#[from] kiln_onnx::BuildError),
}

/// Writes the node of a step. `values` are the names of the graph's input and of the outputs of the
/// steps before it.
pub fn emit(
    graph: &mut GraphBuilder,
    step: &Step<'_>,
    values: &[String],
    output: &str,
    weights: &Weights,
) -> Result<(), ExportError> {
    let mut inputs = Vec::with_capacity(step.inputs.len());
    for source in &step.inputs {
        inputs.push(match source {
            Source::Value(value) => values[*value].clone(),
            Source::Tensor(name) => {
                // Those of a folded layer follow.
                if step.folded.is_none() {
                    let tensor = weights.require(name)?;
                    graph.initializer(name, &tensor.shape, &tensor.data[..]);
                }
                name.clone()
            }
        });
    }
    if let Some(norm) = &step.folded {
        add_folded(graph, norm, &mut inputs, weights)?;
    }
    match &step.op {
        Operation::Resize(settings) => resize(graph, settings, &step.name, &inputs, output),
        Operation::Graph(op) => write(graph, op, &step.name, inputs, output)?,
    }
    Ok(())
}

/// Writes the softmax at the end, or a sigmoid of each score: logits to probabilities.
pub fn probabilities(
    graph: &mut GraphBuilder,
    independent: bool,
    input: &str,
    output: &str,
) -> Result<(), OperatorError> {
    let op = if independent {
        Op::Unary(Unary::Sigmoid)
    } else {
        Op::Softmax { axis: 1 }
    };
    write(graph, &op, output, vec![input.to_owned()], output)
}

fn resize(
    graph: &mut GraphBuilder,
    settings: &Resize2d,
    node: &str,
    inputs: &[String],
    output: &str,
) {
    let sizes = format!("{node}.sizes");
    graph.initializer(
        &sizes,
        &[2],
        vec![settings.height as i64, settings.width as i64],
    );
    let mut inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    inputs.extend(["", "", sizes.as_str()]);
    let resized = &mut graph.node("Resize", node, &inputs, output);
    resized
        .ints("axes", [2, 3])
        .string("coordinate_transformation_mode", "half_pixel");
    match settings.interpolation {
        Interpolation::Bilinear => resized.string("mode", "linear"),
        // The area in which the point lies: TensorFlow's rule.
        Interpolation::Nearest => resized
            .string("mode", "nearest")
            .string("nearest_mode", "round_prefer_ceil"),
    };
}

/// Adds weight and bias of a layer with the normalization after it folded in; `inputs` are the value,
/// the weight's name and, of a layer that has one, the bias's.
fn add_folded(
    graph: &mut GraphBuilder,
    norm: &Folded,
    inputs: &mut Vec<String>,
    weights: &Weights,
) -> Result<(), ExportError> {
    let weight = weights.require(&inputs[1])?;
    let bias = inputs
        .get(2)
        .map(|name| weights.require(name))
        .transpose()?;
    let bias = bias.map(|bias| bias.data.as_slice());
    let norm = BatchNormValues::of(weights, &norm.tensors, norm.epsilon)?;
    let (values, bias) = norm.fold(&weight.data, bias);
    graph.initializer(&inputs[1], &weight.shape, values);
    if inputs.len() == 2 {
        let name = inputs[1].strip_suffix("weight").unwrap_or(&inputs[1]);
        inputs.push(format!("{name}bias"));
    }
    graph.initializer(&inputs[2], &[bias.len()], bias);
    Ok(())
}
