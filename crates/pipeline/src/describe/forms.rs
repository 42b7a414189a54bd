//! Other forms of a model's description: a copy that needs nothing beside it, the preprocessing as
//! Hugging Face's transformers and timm read it, and what NVIDIA Triton needs to serve the model.

use std::fmt::Write;

use kiln_inference::{
    Channels, CropRounding, Filter, Fit, InputKind, Layout, ModelSpec, Origin, Preprocessing,
};
use kiln_onnx::{DataType, Dim, ModelProto, TensorInfo};
use serde_json::{Value, json};

use super::items::divisor;
use crate::error::models::{DescribeError, Tool};

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
    /// Pillow, and so Hugging Face's processors and timm, antialiases when an image shrinks, this model
    /// does not: such images differ slightly.
    Antialiased,
    /// Of an odd number of pixels to crop, the other tool rounds half the other way: where that happens
    /// the crop is shifted by one pixel.
    CropShifted,
    /// Images much larger than the model's are divided by 2, 4 or 8 before they are resized, which the
    /// other tool does not do: they differ slightly.
    NotReduced,
    /// The model takes channels last, Hugging Face's processors and timm return them first: their
    /// output is to be transposed.
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
    let bytes = kiln_onnx::replace_metadata(file, &metadata)?;
    if bytes.len() as u64 > kiln_onnx::MAX_FILE_BYTES {
        let bytes = bytes.len() as u64;
        return Err(DescribeError::TooLarge { bytes });
    }
    Ok(Converted {
        bytes,
        notes: notes.into_iter().flatten().collect(),
    })
}

/// Makes `preprocessor_config.json`. Its formula is that of kiln's record: `(p * rescale_factor -
/// image_mean) / image_std`.
pub fn huggingface(spec: &ModelSpec) -> Result<Converted, DescribeError> {
    let record = check(spec, Tool::HuggingFace)?;
    let [height, width] = record.resized_size();
    let size = match record.resize.fit {
        Fit::Stretch => json!({ "height": height, "width": width }),
        Fit::Shorter if height == width => json!({ "shortest_edge": height }),
        Fit::Shorter | Fit::Longer => return Err(step(Tool::HuggingFace, "resize so and pad")),
        Fit::CropToAspectRatio => return Err(step(Tool::HuggingFace, CROP_FIRST)),
    };
    let crops =
        record.resize.fit != Fit::Stretch || [height, width] != [record.height, record.width];
    let kind = if crops {
        "CLIPImageProcessor"
    } else {
        "ViTImageProcessor"
    };
    let mut config = json!({
        "image_processor_type": kind,
        "do_convert_rgb": record.channels == Channels::Rgb,
        "do_resize": true,
        "size": size,
        "resample": resample(record.resize.filter),
        "do_rescale": true,
        "rescale_factor": divisor(record.scale).map_or_else(|| shortest(record.scale), |by| 1.0 / f64::from(by)),
        "do_normalize": true,
        "image_mean": record.mean.iter().copied().map(shortest).collect::<Vec<_>>(),
        "image_std": record.std.iter().copied().map(shortest).collect::<Vec<_>>(),
    });
    if crops {
        config["do_center_crop"] = true.into();
        config["crop_size"] = json!({ "height": record.height, "width": record.width });
    }
    converted(&config, spec, CropRounding::Down)
}

/// Makes timm's `config.json`, but for the architecture, which a model's file does not say. Its formula
/// is `(p / 255 - mean) / std`.
pub fn timm(spec: &ModelSpec) -> Result<Converted, DescribeError> {
    let record = check(spec, Tool::Timm)?;
    let size = [record.height, record.width];
    let crop_pct =
        crop_pct(size, record.resized_size()).ok_or_else(|| step(Tool::Timm, "pad or crop so"))?;
    let mode = match record.resize.fit {
        Fit::Stretch => "squash",
        Fit::Shorter => "center",
        Fit::Longer => "border",
        Fit::CropToAspectRatio => return Err(step(Tool::Timm, CROP_FIRST)),
    };
    let factor = divisor(record.scale).map_or_else(
        || 255.0 * f64::from(record.scale),
        |by| 255.0 / f64::from(by),
    );
    let values = |values: &[f32]| -> Vec<f64> {
        let value = |&value: &f32| shortest((f64::from(value) / factor) as f32);
        values.iter().map(value).collect()
    };
    let [channels, height, width] = record.shape();
    let mut config = json!({
        "num_classes": spec.labels.len(),
        "pretrained_cfg": {
            "num_classes": spec.labels.len(),
            "input_size": [channels, height, width],
            "fixed_input_size": true,
            "interpolation": record.resize.filter.as_str(),
            "crop_pct": crop_pct,
            "crop_mode": mode,
            "mean": values(&record.mean),
            "std": values(&record.std),
        },
    });
    if named(spec) {
        config["label_names"] = json!(spec.labels);
    }
    converted(&config, spec, CropRounding::Even)
}

const CROP_FIRST: &str = "crop to the aspect ratio before resizing";

/// Returns the record of a model whose steps another tool may have.
fn check(spec: &ModelSpec, tool: Tool) -> Result<&Preprocessing, DescribeError> {
    let record = &spec.preprocessing;
    if spec.input == InputKind::Pixels {
        return Err(DescribeError::Pixels { tool });
    }
    if record.channels == Channels::Bgr {
        return Err(DescribeError::Bgr { tool });
    }
    if record.background.is_some() {
        return Err(step(tool, "put transparent pixels on a background"));
    }
    Ok(record)
}

const fn step(tool: Tool, step: &'static str) -> DescribeError {
    DescribeError::Step { tool, step }
}

/// The file, with notes; `rounding` is how the tool crops.
fn converted(
    config: &Value,
    spec: &ModelSpec,
    rounding: CropRounding,
) -> Result<Converted, DescribeError> {
    let record = &spec.preprocessing;
    let resize = &record.resize;
    let resized = record.resized_size();
    // The longer side may be of any length.
    let odd = resize.fit == Fit::Shorter
        || resized[0].abs_diff(record.height) % 2 == 1
        || resized[1].abs_diff(record.width) % 2 == 1;
    let notes = [
        (odd && resize.crop_rounding != rounding).then_some(ConversionNote::CropShifted),
        (!resize.antialias && resize.filter != Filter::Nearest)
            .then_some(ConversionNote::Antialiased),
        (resize.reducing_gap > 0).then_some(ConversionNote::NotReduced),
        (spec.layout == Layout::Nhwc).then_some(ConversionNote::ChannelsFirst),
    ];
    let mut bytes = serde_json::to_vec_pretty(config)?;
    bytes.push(b'\n');
    Ok(Converted {
        bytes,
        notes: notes.into_iter().flatten().collect(),
    })
}

/// Pillow's number of a filter.
const fn resample(filter: Filter) -> u8 {
    match filter {
        Filter::Nearest => 0,
        Filter::Lanczos => 1,
        Filter::Bilinear => 2,
        Filter::Bicubic => 3,
    }
}

/// The share of timm's `floor(size / crop_pct)`, with as few digits as give both sides; none where no
/// share of at most 1 does.
fn crop_pct(size: [u32; 2], resized: [u32; 2]) -> Option<f64> {
    let gives = |part: &f64| {
        // A side beyond u32 becomes the largest there is, which no record has.
        let given = size.map(|side| (f64::from(side) / part).floor() as u32);
        *part > 0.0 && *part <= 1.0 && given == resized
    };
    let exact = f64::from(size[0]) / f64::from(resized[0]);
    let rounded = |digits: i32| {
        let unit = 10_f64.powi(digits);
        [(exact * unit).round() / unit, (exact * unit).floor() / unit]
    };
    (1..=9).flat_map(rounded).find(gives)
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
    let input = model.inputs().into_iter().next();
    let outputs = model.outputs().into_iter();
    let output = outputs
        .into_iter()
        .find(|output| output.name == spec.output_name);
    let image = spec.layout.image_shape(spec.preprocessing.shape());
    let rank = |info: &Option<TensorInfo>| {
        let shape = info.as_ref().and_then(|info| info.shape.as_ref());
        shape.map(Vec::len)
    };
    let open = |info: &Option<TensorInfo>| {
        let shape = info.as_ref().and_then(|info| info.shape.as_ref());
        shape.is_some_and(|shape| shape.first().is_some_and(|axis| axis.fixed().is_none()))
    };
    // A batch, height and width.
    let known = if rank(&input) == Some(3) && open(&input) {
        &image[1..]
    } else {
        &image
    };
    let classes = match (spec.scores.is_binary, rank(&output)) {
        (true, Some(1)) => &[][..],
        (true, _) => &[1],
        (false, _) => &[spec.labels.len()],
    };
    let input = triton_tensor(input.as_ref(), known);
    let output = triton_tensor(output.as_ref(), classes);
    // Triton's own batching needs open first axes, which the dimensions then leave out.
    let batches = input.batch.is_none() && output.batch.is_none();
    let max_batch = if batches { MAX_BATCH } else { 0 };
    let dims = |tensor: &TritonTensor| {
        let batch = tensor.batch.unwrap_or(-1);
        let batch = (!batches && tensor.has_batch).then_some(batch);
        let axes = batch.iter().chain(&tensor.axes).map(ToString::to_string);
        format!("[ {} ]", axes.collect::<Vec<_>>().join(", "))
    };
    let format = match spec.layout {
        Layout::Nchw => "FORMAT_NCHW",
        Layout::Nhwc => "FORMAT_NHWC",
    };
    let mut text = format!("platform: \"onnxruntime_onnx\"\nmax_batch_size: {max_batch}\n");
    let _ = write!(
        text,
        "input [\n  {{\n    name: {}\n    data_type: {}\n",
        quoted(&input.name),
        input.data_type
    );
    if batches && input.axes.len() == image.len() {
        let _ = writeln!(text, "    format: {format}");
    }
    let _ = write!(text, "    dims: {}\n  }}\n]\n", dims(&input));
    let _ = write!(
        text,
        "output [\n  {{\n    name: {}\n    data_type: {}\n",
        quoted(&output.name),
        output.data_type
    );
    let _ = writeln!(text, "    dims: {}", dims(&output));
    if named(spec) && !spec.scores.is_binary {
        let _ = writeln!(text, "    label_filename: {}", quoted(TritonFiles::LABELS));
    }
    text.push_str("  }\n]\n");
    if batches {
        text.push_str("dynamic_batching { }\n");
    }
    text.into_bytes()
}

/// An input or output as Triton has it.
struct TritonTensor {
    name: String,
    data_type: &'static str,
    has_batch: bool,
    /// The size of the batch, where it is fixed.
    batch: Option<i64>,
    /// The sizes of the axes behind the batch, -1 where they are open.
    axes: Vec<i64>,
}

/// A tensor of the graph; `known` are the sizes of its axes for one image, as far as they are known,
/// where the graph leaves them open.
fn triton_tensor(info: Option<&TensorInfo>, known: &[usize]) -> TritonTensor {
    let data_type = match info.and_then(|info| info.data_type) {
        Some(DataType::Float16) => "TYPE_FP16",
        Some(DataType::Bfloat16) => "TYPE_BF16",
        Some(DataType::Double) => "TYPE_FP64",
        Some(DataType::Uint8) => "TYPE_UINT8",
        Some(DataType::Int8) => "TYPE_INT8",
        _ => "TYPE_FP32",
    };
    let fixed = |size: usize| i64::try_from(size).unwrap_or(-1);
    let shape = info.and_then(|info| info.shape.clone());
    // The axes of an image, or of its scores, without those of a batch.
    let has_batch = shape.as_ref().is_none_or(|shape| shape.len() > known.len());
    let shape = shape.unwrap_or_else(|| Dim::batched(known.iter().copied()));
    let (batch, axes) = shape.split_at(usize::from(has_batch).min(shape.len()));
    let axes = axes.iter().enumerate().map(|(at, axis)| {
        let size = axis.fixed().or_else(|| known.get(at).copied());
        size.map_or(-1, fixed)
    });
    TritonTensor {
        name: info.map_or_else(String::new, |info| info.name.clone()),
        data_type,
        has_batch,
        batch: if has_batch {
            batch.iter().find_map(Dim::fixed).map(fixed)
        } else {
            Some(1)
        },
        axes: axes.collect(),
    }
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
    fn shares_are_those_of_timm() {
        for (side, resized, expected) in [
            (224, 256, Some(0.875)),
            (224, 235, Some(0.95)),
            (224, 224, Some(1.0)),
            (224, 232, Some(0.965)),
            (224, 200, None),
        ] {
            let found = crop_pct([side; 2], [resized; 2]);
            if let (Some(found), Some(_)) = (found, expected) {
                assert_eq!((f64::from(side) / found).floor() as u32, resized);
            }
            assert_eq!(
                found.map(|it| (it * 1000.0).round() as u32),
                expected.map(|it| (it * 1000.0_f64).round() as u32)
            );
        }
        assert_eq!(crop_pct([224, 192], [256, 192]), None);
    }

    #[test]
    fn strings_are_escaped() {
        assert_eq!(quoted("serving_default:0"), "\"serving_default:0\"");
        assert_eq!(quoted("a\"\\\né"), "\"a\\\"\\\\\\012\\303\\251\"");
    }
}
