//! The preprocessing as Hugging Face's transformers read it.

use anyhow::bail;
use kiln_inference::{Channels, InputKind, Layout, ModelSpec};
use serde_json::json;

use super::resolved::divisor;
use crate::terminal::Terminal;

/// Pillow's number for bilinear.
const BILINEAR: u32 = 2;

/// `preprocessor_config.json`. Its formula is that of kiln's record: `(p * rescale_factor -
/// image_mean) / image_std`.
pub fn config(spec: &ModelSpec, terminal: &Terminal) -> anyhow::Result<Vec<u8>> {
    let record = &spec.preprocessing;
    if spec.input == InputKind::Pixels {
        bail!(
            "this model takes uint8 pixels and prepares them itself, Hugging Face's processors return prepared values: \
             leave out --huggingface"
        );
    }
    if record.channels == Channels::Bgr {
        bail!(
            "Hugging Face's ViTImageProcessor returns channels in the order rgb, this model takes bgr: \
             leave out --huggingface, or export the model with its channels in the order rgb"
        );
    }
    if !record.resize.antialias {
        let text = "transformers antialias when an image shrinks, this model does not: such images differ slightly";
        terminal.status("Note", text);
    }
    if spec.layout == Layout::Nhwc {
        terminal.status(
            "Note",
            "this model takes channels last, transformers returns them first: transpose its output",
        );
    }
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
    Ok(bytes)
}

/// A number as it was most likely written: 0.485 rather than 0.48500001430511475.
fn shortest(value: f32) -> f64 {
    value
        .to_string()
        .parse()
        .unwrap_or_else(|_| f64::from(value))
}
