//! The model as NVIDIA Triton serves it.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use kiln_inference::{InputKind, Layout, ModelSpec, Origin};
use kiln_onnx::ModelProto;

/// Most images that Triton may put together, where the graph leaves the batch open.
const MAX_BATCH: usize = 64;

/// The name of the file of labels, beside the configuration.
const LABELS: &str = "labels.txt";

/// The names of the classes, for a file beside the configuration; none where they have none.
pub fn labels(spec: &ModelSpec, config: &Path) -> Option<(PathBuf, Vec<u8>)> {
    // A name of several lines would be several labels.
    let line = |label: &String| label.split_whitespace().collect::<Vec<_>>().join(" ") + "\n";
    let text = || {
        spec.labels
            .iter()
            .map(line)
            .collect::<String>()
            .into_bytes()
    };
    named(spec).then(|| (config.with_file_name(LABELS), text()))
}

fn named(spec: &ModelSpec) -> bool {
    spec.origins.labels != Origin::Default
}

/// The configuration (`ModelConfig` in protobuf's text format). The model's name is left to its
/// folder in Triton's repository.
pub fn config(model: &ModelProto, spec: &ModelSpec) -> Vec<u8> {
    let image = spec.layout.image_shape(spec.preprocessing.shape());
    // Triton's own batching needs an open first axis, which the dimensions then leave out.
    let (max_batch, fixed) = match spec.batch {
        None => (MAX_BATCH, None),
        Some(batch) => (0, Some(batch)),
    };
    let dims = |axes: &[usize]| {
        let axes: Vec<String> = fixed.iter().chain(axes).map(ToString::to_string).collect();
        format!("[ {} ]", axes.join(", "))
    };
    let format = match spec.layout {
        Layout::Nchw => "FORMAT_NCHW",
        Layout::Nhwc => "FORMAT_NHWC",
    };
    let name = |names: Vec<kiln_onnx::TensorInfo>| {
        names
            .into_iter()
            .next()
            .map_or_else(String::new, |info| info.name)
    };
    let mut text = format!("platform: \"onnxruntime_onnx\"\nmax_batch_size: {max_batch}\n");
    let data_type = match spec.input {
        InputKind::Values => "TYPE_FP32",
        InputKind::Pixels => "TYPE_UINT8",
    };
    let _ = write!(
        text,
        "input [\n  {{\n    name: {}\n    data_type: {data_type}\n",
        quoted(&name(model.inputs()))
    );
    if fixed.is_none() {
        let _ = writeln!(text, "    format: {format}");
    }
    let _ = write!(text, "    dims: {}\n  }}\n]\n", dims(&image));
    let _ = write!(
        text,
        "output [\n  {{\n    name: {}\n    data_type: TYPE_FP32\n",
        quoted(&name(model.outputs()))
    );
    let _ = writeln!(text, "    dims: {}", dims(&scores(model, spec)));
    if named(spec) {
        let _ = writeln!(text, "    label_filename: {}", quoted(LABELS));
    }
    text.push_str("  }\n]\n");
    if fixed.is_none() {
        text.push_str("dynamic_batching { }\n");
    }
    text.into_bytes()
}

/// The shape of the scores of one image: axes of 1 may follow.
fn scores(model: &ModelProto, spec: &ModelSpec) -> Vec<usize> {
    let rank = model
        .outputs()
        .first()
        .and_then(|output| output.shape.as_ref().map(Vec::len))
        .unwrap_or(2);
    let ones = std::iter::repeat_n(1, rank.saturating_sub(2));
    std::iter::once(spec.labels.len()).chain(ones).collect()
}

/// A string of protobuf's text format.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            0x20..0x7f => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\{byte:03o}");
            }
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped() {
        assert_eq!(quoted("serving_default:0"), "\"serving_default:0\"");
        assert_eq!(quoted("a\"\\\né"), "\"a\\\"\\\\\\012\\303\\251\"");
    }
}
