//! Other forms of a model's description: a copy that needs nothing beside it, the preprocessing as
//! Hugging Face's transformers read it, and what NVIDIA Triton needs to serve the model.

use std::fmt::Write;

use kiln_inference::{Channels, InputKind, Layout, ModelSpec, Origin};
use kiln_onnx::ModelProto;
use serde_json::json;

use super::items::divisor;
use crate::error::models::DescribeError;

/// A file in another form, with what to know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The file.
    pub bytes: Vec<u8>,
    /// What to know about it.
    pub notes: Vec<ConversionNote>,
}

/// What to know about a file in another form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConversionNote {
    /// The golden vectors are not in the copy: they were made with other preprocessing or labels.
    GoldenVectorsDropped,
    /// Nobody specifies what the output is: it is written as logits.
    AssumedLogits,
    /// Hugging Face's processors antialias when an image shrinks, this model does not: such images
    /// differ slightly.
    Antialiased,
    /// The model takes channels last, Hugging Face's processors return them first: their output is
    /// to be transposed.
    ChannelsFirst,
}

/// Copies a file, with all that is known of the model in its metadata, otherwise the same.
pub fn with_metadata(
    file: &[u8],
    model: &ModelProto,
    spec: &ModelSpec,
) -> Result<Converted, DescribeError> {
    let found = model.metadata()?;
    let metadata = spec.to_metadata(&found);
    let dropped = found.golden.is_some() && metadata.golden.is_none();
    let assumed = spec.origins.output == Origin::Default;
    let notes = [
        dropped.then_some(ConversionNote::GoldenVectorsDropped),
        assumed.then_some(ConversionNote::AssumedLogits),
    ];
    Ok(Converted {
        bytes: kiln_onnx::replace_metadata(file, &metadata)?,
        notes: notes.into_iter().flatten().collect(),
    })
}

/// Pillow's number for bilinear.
const BILINEAR: u32 = 2;

/// Makes `preprocessor_config.json`. Its formula is that of kiln's record: `(p * rescale_factor -
/// image_mean) / image_std`.
pub fn huggingface(spec: &ModelSpec) -> Result<Converted, DescribeError> {
    let record = &spec.preprocessing;
    if spec.input == InputKind::Pixels {
        return Err(DescribeError::Pixels);
    }
    if record.channels == Channels::Bgr {
        return Err(DescribeError::Bgr);
    }
    let notes = [
        (!record.resize.antialias).then_some(ConversionNote::Antialiased),
        (spec.layout == Layout::Nhwc).then_some(ConversionNote::ChannelsFirst),
    ];
    let config = json!({
        "image_processor_type": "ViTImageProcessor",
        "do_convert_rgb": record.channels == Channels::Rgb,
        "do_resize": true,
        "size": { "height": record.height, "width": record.width },
        "resample": BILINEAR,
        "do_rescale": true,
        "rescale_factor": divisor(record.scale).map_or_else(|| shortest(record.scale), |by| 1.0 / f64::from(by)),
        "do_normalize": true,
        "image_mean": record.mean.iter().copied().map(shortest).collect::<Vec<_>>(),
        "image_std": record.std.iter().copied().map(shortest).collect::<Vec<_>>(),
    });
    let mut bytes = serde_json::to_vec_pretty(&config)?;
    bytes.push(b'\n');
    Ok(Converted {
        bytes,
        notes: notes.into_iter().flatten().collect(),
    })
}

/// Returns a number as it was most likely written: 0.485 rather than 0.48500001430511475.
fn shortest(value: f32) -> f64 {
    value
        .to_string()
        .parse()
        .unwrap_or_else(|_| f64::from(value))
}

/// Most images that Triton may put together, where the graph leaves the batch open.
const MAX_BATCH: usize = 64;

/// The model as NVIDIA Triton serves it. The model's name is left to its folder in Triton's
/// repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TritonFiles {
    /// `config.pbtxt`: `ModelConfig` in protobuf's text format.
    pub config: Vec<u8>,
    /// The names of the classes, for [`LABELS`](Self::LABELS) beside the configuration; none where
    /// they have none.
    pub labels: Option<Vec<u8>>,
}

impl TritonFiles {
    /// The name of the file of labels.
    pub const LABELS: &'static str = "labels.txt";
}

/// Makes the files of a model for NVIDIA Triton.
pub fn triton(model: &ModelProto, spec: &ModelSpec) -> TritonFiles {
    // A name of several lines would be several labels.
    let line = |label: &String| label.split_whitespace().collect::<Vec<_>>().join(" ") + "\n";
    let labels = named(spec).then(|| spec.labels.iter().map(line).collect::<String>());
    TritonFiles {
        config: triton_config(model, spec),
        labels: labels.map(String::into_bytes),
    }
}

fn named(spec: &ModelSpec) -> bool {
    spec.origins.labels != Origin::Default
}

fn triton_config(model: &ModelProto, spec: &ModelSpec) -> Vec<u8> {
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
        let _ = writeln!(text, "    label_filename: {}", quoted(TritonFiles::LABELS));
    }
    text.push_str("  }\n]\n");
    if fixed.is_none() {
        text.push_str("dynamic_batching { }\n");
    }
    text.into_bytes()
}

/// Returns the shape of the scores of one image: axes of 1 may follow.
fn scores(model: &ModelProto, spec: &ModelSpec) -> Vec<usize> {
    let rank = model
        .outputs()
        .first()
        .and_then(|output| output.shape.as_ref().map(Vec::len))
        .unwrap_or(2);
    let ones = std::iter::repeat_n(1, rank.saturating_sub(2));
    std::iter::once(spec.labels.len()).chain(ones).collect()
}

/// Quotes a string of protobuf's text format.
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
