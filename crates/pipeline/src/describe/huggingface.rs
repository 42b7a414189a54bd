//! The preprocessing as Hugging Face's transformers read it.

use kiln_inference::{Channels, InputKind, Layout, ModelSpec};
use serde_json::json;

use super::described::{ConversionNote, Converted};
use super::items::divisor;
use crate::error::models::DescribeError;

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
