//! What goes into the graph and what comes out, checked against the labels and the preprocessing record.

use kiln_onnx::{DataType, Dim, Golden, Metadata, ModelProto, OutputKind, TensorInfo};
use kiln_preprocess::Preprocessor;

use crate::error::LoadErrorKind;
use crate::input::InputKind;
use crate::options::Options;

/// What goes into the graph and what comes out.
pub struct Contract {
    pub preprocessor: Preprocessor,
    pub labels: Vec<String>,
    pub output_kind: OutputKind,
    pub golden: Option<Golden>,
    pub input: InputKind,
    /// The graph's batch size, where it is fixed.
    pub batch: Option<usize>,
}

impl Contract {
    /// Takes what the options say, else what the file says, and checks that the graph fits it.
    pub fn new(model: &ModelProto, options: &Options) -> Result<Self, LoadErrorKind> {
        let metadata = Metadata::from_props(&model.metadata_props)?;
        let record = options.preprocessing.clone().or(metadata.preprocessing);
        let record = record.ok_or(LoadErrorKind::NotSaid { what: "preprocessing", key: "kiln.preprocessing" })?;
        let labels = options.labels.clone().or(metadata.labels).filter(|labels| !labels.is_empty());
        let labels = labels.ok_or(LoadErrorKind::NotSaid { what: "labels", key: "kiln.labels" })?;
        let output_kind = options.output.or(metadata.output).unwrap_or_else(|| output_kind(model));
        let preprocessor = Preprocessor::new(record)?;
        let input = InputKind::of(&model.inputs());
        if input == InputKind::Pixels && !preprocessor.record().keeps_pixels() {
            return Err(LoadErrorKind::Pixels);
        }
        let batch = check_input(&model.inputs(), input, preprocessor.shape())?;
        check_output(model.outputs().first(), labels.len())?;
        Ok(Self { preprocessor, labels, output_kind, golden: metadata.golden, input, batch })
    }
}

/// What the first output is by the operator that produces it.
fn output_kind(model: &ModelProto) -> OutputKind {
    let graph = model.graph.as_ref();
    let ends_in_softmax = graph.is_some_and(|graph| {
        let output = graph.output.first().map(|output| &output.name);
        graph.node.iter().any(|node| node.op_type == "Softmax" && node.output.first() == output)
    });
    if ends_in_softmax { OutputKind::Probabilities } else { OutputKind::Logits }
}

/// Checks that the only input takes images of this shape, `[channels, height, width]`; returns the batch size if it is
/// fixed.
fn check_input(inputs: &[TensorInfo], kind: InputKind, shape: [usize; 3]) -> Result<Option<usize>, LoadErrorKind> {
    let shape = kind.axes(shape);
    let error = |advice| LoadErrorKind::Input {
        expected: format!("{} input {}", kind.type_name(), describe_shape(&Dim::batched(shape))),
        found: if inputs.is_empty() { "none".to_owned() } else { join(inputs.iter().map(describe)) },
        advice,
    };
    let [input] = inputs else { return Err(error("kiln runs models with a single input")) };
    if input.data_type.is_some_and(|found| found != kind.data_type()) {
        return Err(error("convert the model to float32"));
    }
    let Some(found) = &input.shape else { return Ok(None) };
    let fits = |(found, expected): (&Dim, &usize)| found.fixed().is_none_or(|size| size == *expected);
    match found.as_slice() {
        [batch, image @ ..] if image.len() == 3 && image.iter().zip(&shape).all(fits) && batch.fixed() != Some(0) => {
            Ok(batch.fixed())
        }
        _ => Err(error(match kind {
            InputKind::Values => "correct the preprocessing's size and channels; images are NCHW, not NHWC",
            InputKind::Pixels => "correct the preprocessing's size and channels; pixels are NHWC, not NCHW",
        })),
    }
}

/// Checks that the scores can be `[batch, labels]` of floats.
fn check_output(output: Option<&TensorInfo>, labels: usize) -> Result<(), LoadErrorKind> {
    let error = |found| LoadErrorKind::Output { labels, found };
    let output = output.ok_or_else(|| error("none".to_owned()))?;
    let float = output.data_type.is_none_or(|found| found == DataType::Float);
    let fits = match output.shape.as_deref() {
        Some([_, classes]) => classes.fixed().is_none_or(|size| size == labels),
        Some(_) => false,
        None => true,
    };
    if float && fits { Ok(()) } else { Err(error(describe(output))) }
}

fn describe(info: &TensorInfo) -> String {
    let data_type = info.data_type.map_or_else(|| "unknown type".to_owned(), |found| format!("{found:?}"));
    let shape = info.shape.as_deref().map_or_else(|| "of unknown rank".to_owned(), describe_shape);
    format!("`{}` {} {shape}", info.name, data_type.to_lowercase())
}

fn describe_shape(shape: &[Dim]) -> String {
    format!("[{}]", join(shape.iter().map(Dim::to_string)))
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
