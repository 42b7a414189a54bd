//! From a model with its weights to an ONNX file, preprocessing in front if it takes pixels.

use std::collections::BTreeMap;

use kiln_model::{Channels, LayerKind, Layout, Model, Preprocessing};
use kiln_onnx::{DataType, Dim, Golden, GraphBuilder, Metadata, ModelProto, OutputKind};
use kiln_run::Weights;

use crate::ExportError;
use crate::emit::{emit, probabilities};
use crate::lower::steps;

/// Contents of the file besides the network.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Names of the classes, in the order of the output.
    pub labels: Vec<String>,
    /// Where the model comes from: recipe, seed, versions.
    pub provenance: BTreeMap<String, String>,
    /// What the scores are: of probabilities, the output has that name in place of `logits`, and the graph ends in a
    /// softmax or in a sigmoid. One sigmoid is the probability of the second of two labels.
    pub output: OutputKind,
    /// What the probability of a class has to exceed where each has one by itself, 0 to 1: one number for all scores or one
    /// for each; without it, 0.5.
    pub threshold: Option<Vec<f32>>,
    /// The layer to begin with, counted from 0. After the first one, the input is `features`, the
    /// output of the layers before it, and the file has no preprocessing record.
    pub first_layer: usize,
    /// Whether the input is pixels, uint8 `[batch, height, width, channels]`, that the graph itself
    /// preprocesses: it then takes decoded images of the model's size.
    pub uint8_input: bool,
    /// Inputs with the scores that this graph computes for them.
    pub golden: Option<Golden>,
}

impl Options {
    /// The preprocessing that is left to do outside of the graph.
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
    /// For each layer that computes something, in order: its name, and the name of its output in the
    /// graph.
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
    let is_one_of_two = options.output.is_independent() && model.classes() == 1;
    let labels = if is_one_of_two { 2 } else { model.classes() };
    if options.labels.len() != labels {
        return Err(ExportError::Labels {
            classes: labels,
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
        return Err(ExportError::NoLayer(options.first_layer));
    };
    if let Some(layer) = layers_to_write
        .iter()
        .find(|layer| matches!(layer.kind, LayerKind::Graph(_) | LayerKind::Segment(_)))
    {
        return Err(ExportError::InFile(layer.name.clone()));
    }
    let whole = options.first_layer == 0;
    let input = match (whole, options.uint8_input) {
        (true, true) => prepare(&mut graph, model.preprocessing()).to_string(),
        (false, true) => return Err(ExportError::PixelsAfter(options.first_layer)),
        (_, false) => {
            let name = if whole { "input" } else { "features" };
            graph.input(name, Dim::batched(first.input.dims()));
            name.to_string()
        }
    };
    // The class scores are the first output, whatever else is one.
    let classes = Dim::batched([model.classes()]);
    let is_probabilities = options.output.is_probabilities();
    let scores = if is_probabilities {
        "probabilities"
    } else {
        "logits"
    };
    graph.output(scores, &classes);
    let steps = steps(layers_to_write);
    let mut values = vec![input];
    for (at, step) in steps.iter().enumerate() {
        let output = if at + 1 == steps.len() {
            "logits".into()
        } else {
            step.output()
        };
        emit(&mut graph, step, &values, &output, weights)?;
        if let Some(layer) = step.completes {
            // Declared above if it is the last.
            if output != "logits" {
                graph.value_info(&output, Dim::batched(layer.output.dims()));
            }
            layers.push((layer.name.clone(), output.clone()));
        }
        values.push(output);
    }
    if is_probabilities {
        graph.value_info("logits", &classes);
        let independent = options.output.is_independent();
        probabilities(&mut graph, independent, "logits", scores)?;
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
        output: Some(options.output),
        output_name: None,
        threshold: options.threshold.clone(),
        provenance: options.provenance.clone(),
        golden: options.golden.clone(),
    });
    Ok(Exported { proto, layers })
}

/// Adds the input `input`, uint8 `[batch, height, width, channels]` as images are decoded (gray, or
/// red, green, blue), and the nodes that make the first layer's input of it. Returns that value's
/// name.
///
/// `(p * scale - mean) / std` becomes a product and a sum per channel, computed in f64 and rounded
/// once; one that would change nothing is left out.
fn prepare(graph: &mut GraphBuilder, record: &Preprocessing) -> &'static str {
    let [channels, height, width] = record.shape();
    graph.input_of(
        DataType::Uint8,
        "input",
        Dim::batched([height, width, channels]),
    );
    graph
        .node("Cast", "input.cast", &["input"], "input.float")
        .int("to", DataType::Float as i64);
    graph
        .node(
            "Transpose",
            "input.transpose",
            &["input.float"],
            "input.nchw",
        )
        .ints("perm", [0, 3, 1, 2]);
    let mut value = "input.nchw";
    if record.channels == Channels::Bgr {
        graph.initializer("input.order", &[3], vec![2_i64, 1, 0]);
        graph
            .node(
                "Gather",
                "input.reorder",
                &[value, "input.order"],
                "input.bgr",
            )
            .int("axis", 1);
        value = "input.bgr";
    }
    let deviations = || record.std.iter().copied().map(f64::from);
    let factors: Vec<f32> = deviations()
        .map(|std| (f64::from(record.scale) / std) as f32)
        .collect();
    let offsets: Vec<f32> = deviations()
        .zip(&record.mean)
        .map(|(std, &mean)| (-f64::from(mean) / std) as f32)
        .collect();
    if factors != vec![1.0; channels] {
        graph.initializer("input.factor", &[channels, 1, 1], factors);
        graph.node(
            "Mul",
            "input.scale",
            &[value, "input.factor"],
            "input.scaled",
        );
        value = "input.scaled";
    }
    if offsets != vec![0.0; channels] {
        graph.initializer("input.offset", &[channels, 1, 1], offsets);
        graph.node(
            "Add",
            "input.shift",
            &[value, "input.offset"],
            "input.shifted",
        );
        value = "input.shifted";
    }
    value
}

#[cfg(test)]
mod tests;
