//! Hugging Face's `preprocessor_config.json`.

use kiln_inference::ModelOverrides;
use kiln_model::{Arithmetic, Channels, CropRounding, Filter, Fit, Steps};
use serde_json::{Map, Value};

use super::{Config, flag, get, number, numbers, side};

/// A size of Hugging Face's processors.
enum Size {
    Both([u32; 2]),
    Shortest(u32),
    Longest(u32),
}

fn size(config: &Config, key: &str, square: bool) -> Result<Option<Size>, String> {
    let Some(value) = get(config, key) else {
        return Ok(None);
    };
    let wrong = || {
        format!(
            "`{key}` must be a number, or have height and width, shortest_edge or longest_edge; found {value}"
        )
    };
    let found = match value {
        Value::Number(_) if square => Size::Both([side(key, value)?; 2]),
        Value::Number(_) => Size::Shortest(side(key, value)?),
        Value::Object(sides) => {
            match ["height", "width", "shortest_edge", "longest_edge"].map(|name| get(sides, name))
            {
                [Some(height), Some(width), None, None] => {
                    Size::Both([side(key, height)?, side(key, width)?])
                }
                [None, None, Some(shortest), None] => Size::Shortest(side(key, shortest)?),
                [None, None, None, Some(longest)] => Size::Longest(side(key, longest)?),
                _ => return Err(wrong()),
            }
        }
        _ => return Err(wrong()),
    };
    Ok(Some(found))
}

/// How a processor's size becomes that to resize to, where it is not the size itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sizing {
    /// It is.
    Plain,
    /// A shorter side below 384 is that of the crop, and divided by `crop_pct`; from 384 on the image
    /// is stretched.
    ConvNext,
    /// A shorter side times 256 / 224.
    Levit,
    /// A side divided by `crop_pct` is the shorter one's.
    PoolFormer,
}

/// What a processor does that its configuration need not say.
struct Processor {
    /// Name without `ImageProcessor`.
    name: &'static str,
    /// Whether a number as size is that of both sides.
    square: bool,
    sizing: Sizing,
    /// What it does where the configuration leaves it out, as JSON.
    defaults: &'static str,
}

macro_rules! processor {
    ($name:literal, $square:literal, $sizing:ident, $resample:literal, $size:literal, $values:ident $(, $more:literal)*) => {
        Processor {
            name: $name,
            square: $square,
            sizing: Sizing::$sizing,
            defaults: concat!(
                "{\"resample\":", $resample, ",\"size\":{", $size, "},", processor!($values) $(, ",", $more)*, "}"
            ),
        }
    };
    (none) => { "\"do_normalize\":false" };
    (half) => { "\"image_mean\":[0.5,0.5,0.5],\"image_std\":[0.5,0.5,0.5]" };
    (imagenet) => { "\"image_mean\":[0.485,0.456,0.406],\"image_std\":[0.229,0.224,0.225]" };
    (openai) => {
        "\"image_mean\":[0.48145466,0.4578275,0.40821073],\"image_std\":[0.26862954,0.26130258,0.27577711]"
    };
}

/// The processors of image classifiers, with the defaults of transformers 5.24; the test compares
/// them with its own.
#[rustfmt::skip]
const PROCESSORS: [Processor; 14] = [
    processor!("ViT", true, Plain, 2, "\"height\":224,\"width\":224", half),
    processor!("DeiT", true, Plain, 3, "\"height\":256,\"width\":256", half, "\"do_center_crop\":true", "\"crop_size\":224"),
    processor!("Beit", true, Plain, 3, "\"height\":224,\"width\":224", half, "\"do_center_crop\":false", "\"crop_size\":224"),
    processor!("Pvt", true, Plain, 3, "\"height\":224,\"width\":224", imagenet),
    processor!("Siglip", false, Plain, 3, "\"height\":224,\"width\":224", half),
    processor!("CLIP", false, Plain, 3, "\"shortest_edge\":224", openai, "\"do_center_crop\":true", "\"crop_size\":224"),
    processor!("Bit", false, Plain, 3, "\"shortest_edge\":224", openai, "\"do_center_crop\":true", "\"crop_size\":224"),
    processor!("ConvNext", false, ConvNext, 3, "\"shortest_edge\":384", half, "\"crop_pct\":0.875"),
    processor!("MobileNetV1", false, Plain, 2, "\"shortest_edge\":256", half, "\"do_center_crop\":true", "\"crop_size\":224"),
    processor!("MobileNetV2", false, Plain, 2, "\"shortest_edge\":256", half, "\"do_center_crop\":true", "\"crop_size\":224"),
    processor!("EfficientNet", true, Plain, 3, "\"height\":346,\"width\":346", half, "\"do_center_crop\":false", "\"crop_size\":289", "\"include_top\":true"),
    processor!("Levit", false, Levit, 3, "\"shortest_edge\":224", imagenet, "\"do_center_crop\":true", "\"crop_size\":224"),
    processor!("PoolFormer", false, PoolFormer, 3, "\"shortest_edge\":224", imagenet, "\"do_center_crop\":true", "\"crop_size\":224", "\"crop_pct\":0.9"),
    processor!("MobileViT", false, Plain, 3, "\"shortest_edge\":224", none, "\"do_center_crop\":true", "\"crop_size\":256", "\"do_flip_channel_order\":true"),
];

impl Processor {
    /// Returns the processor that a configuration names, if it is one of these.
    fn of(config: &Config) -> Option<&'static Self> {
        let kind = kind(config)?;
        let ends = ["ImageProcessor", "FeatureExtractor"];
        let name = ends.iter().find_map(|end| kind.split_once(end))?.0;
        PROCESSORS
            .iter()
            .find(|known| known.name.eq_ignore_ascii_case(name))
    }

    /// Returns a configuration with what it leaves out.
    fn complete(&self, config: &Config) -> Result<Config, String> {
        let mut complete: Map<String, Value> =
            serde_json::from_str(self.defaults).map_err(|error| error.to_string())?;
        let specified = config.iter().filter(|(_, value)| !value.is_null());
        complete.extend(specified.map(|(key, value)| (key.clone(), value.clone())));
        Ok(complete)
    }
}

/// The name of the class in transformers.
fn kind(config: &Config) -> Option<&str> {
    ["image_processor_type", "feature_extractor_type"]
        .into_iter()
        .find_map(|key| get(config, key).and_then(Value::as_str))
}

/// Refuses what a record cannot say.
fn check(config: &Config) -> Result<(), String> {
    if let Some(kind) = kind(config)
        && ["Perceiver", "ImageGPT"]
            .iter()
            .any(|name| kind.starts_with(name))
    {
        return Err(format!("kiln has no `{kind}`: specify the preprocessing"));
    }
    if !flag(config, "do_resize", true)? && flag(config, "do_center_crop", false)? {
        return Err("kiln does not crop without resizing: specify the preprocessing".into());
    }
    match get(config, "size_divisor") {
        Some(_) => Err("kiln has no `size_divisor`: specify the preprocessing".into()),
        None => Ok(()),
    }
}

/// The sizes of a configuration: which sides become what, and the model's.
struct Sizes {
    fit: Fit,
    to: Option<[u32; 2]>,
    input: Option<[u32; 2]>,
}

fn sizes(config: &Config, processor: Option<&Processor>) -> Result<Sizes, String> {
    let crops = flag(config, "do_center_crop", get(config, "crop_size").is_some())?;
    let square = processor.map_or(!crops, |processor| processor.square);
    let resized = size(config, "size", square)?;
    let crop = size(config, "crop_size", true)?.filter(|_| crops);
    let share = || {
        let share = number(config, "crop_pct")?;
        share.map_or(Ok(None), |share| {
            kiln_model::check_share(share)
                .map(Some)
                .map_err(|expected| format!("`crop_pct` is {share}: {expected}"))
        })
    };
    let divided = |side: u32, part: f64| (f64::from(side) / part) as u32;
    let mut own_crop = None;
    let sizing = processor.map_or(Sizing::Plain, |processor| processor.sizing);
    let (fit, to) = match (sizing, resized) {
        (_, None) => (Fit::Stretch, None),
        (Sizing::ConvNext, Some(Size::Shortest(side))) if side < 384 => {
            own_crop = Some([side; 2]);
            let part = share()?.unwrap_or(224.0 / 256.0);
            (Fit::Shorter, Some([divided(side, part); 2]))
        }
        (Sizing::ConvNext, Some(Size::Shortest(side))) => (Fit::Stretch, Some([side; 2])),
        (Sizing::Levit, Some(Size::Shortest(side))) => {
            let side = (256.0 / 224.0 * f64::from(side)) as u32;
            (Fit::Shorter, Some([side; 2]))
        }
        (Sizing::PoolFormer, Some(Size::Shortest(side))) => {
            let part = share()?.unwrap_or(1.0);
            (Fit::Shorter, Some([divided(side, part); 2]))
        }
        (Sizing::PoolFormer, Some(Size::Both([height, width]))) => match share()? {
            Some(part) if height == width => (Fit::Shorter, Some([divided(height, part); 2])),
            Some(part) => (
                Fit::Stretch,
                Some([divided(height, part), divided(width, part)]),
            ),
            None => (Fit::Stretch, Some([height, width])),
        },
        (_, Some(Size::Both(size))) => (Fit::Stretch, Some(size)),
        (_, Some(Size::Shortest(side))) => (Fit::Shorter, Some([side; 2])),
        (_, Some(Size::Longest(side))) => (Fit::Longer, Some([side; 2])),
    };
    let input = match crop {
        Some(Size::Both(size)) => Some(size),
        Some(Size::Shortest(side) | Size::Longest(side)) => Some([side; 2]),
        // A side alone leaves the other to the graph.
        None => own_crop.or(to.filter(|_| !crops && fit == Fit::Stretch)),
    };
    Ok(Sizes { fit, to, input })
}

/// Factor, mean and standard deviation, as of a record.
struct Values {
    scale: f32,
    mean: Option<Vec<f32>>,
    std: Option<Vec<f32>>,
}

fn values(config: &Config) -> Result<Values, String> {
    let rescale = flag(config, "do_rescale", true)?;
    let normalize = flag(config, "do_normalize", get(config, "image_mean").is_some())?;
    let scale = number(config, "rescale_factor")?.unwrap_or(1.0 / 255.0) as f32;
    let image_std = numbers(config, "image_std")?;
    let mut mean = numbers(config, "image_mean")?.filter(|_| normalize);
    let mut std = image_std.clone().filter(|_| normalize);
    // EfficientNet's: 1 is subtracted after rescaling.
    if rescale && flag(config, "rescale_offset", false)? {
        let mean = mean.get_or_insert_with(|| vec![0.0]);
        for mean in mean.iter_mut() {
            *mean += 1.0;
        }
    }
    // EfficientNet's: what was normalized is divided by the deviation once more.
    if let Some(again) = image_std
        && flag(config, "include_top", false)?
    {
        std = Some(match std {
            Some(std) => std.iter().zip(&again).map(|(a, b)| a * b).collect(),
            None => again,
        });
    }
    Ok(Values {
        scale: if rescale { scale } else { 1.0 },
        mean,
        std,
    })
}

/// Reads `preprocessor_config.json`, whose formula is that of kiln's record. Images are resized in
/// Pillow's arithmetic, cropped at the center, and turned upright by `load_image`, which also drops alpha.
pub(crate) fn hugging_face(config: &Config) -> Result<ModelOverrides, String> {
    let processor = Processor::of(config);
    let complete = processor.map(|it| it.complete(config)).transpose()?;
    let config = complete.as_ref().unwrap_or(config);
    check(config)?;
    let filter = match number(config, "resample")?.map(|number| number as i64) {
        Some(0) => Filter::Nearest,
        Some(1) => Filter::Lanczos,
        Some(2) | None => Filter::Bilinear,
        Some(3) => Filter::Bicubic,
        Some(other) => {
            return Err(format!(
                "`resample` is {other}: expected 0 (nearest), 1 (lanczos), 2 (bilinear) or 3 (bicubic)"
            ));
        }
    };
    let Sizes { fit, to, input } = sizes(config, processor)?;
    let Values { scale, mean, std } = values(config)?;
    let gray = mean.as_ref().is_some_and(|mean| mean.len() == 1)
        && !flag(config, "rescale_offset", false)?;
    let color = if flag(config, "do_flip_channel_order", false)? {
        Channels::Bgr
    } else {
        Channels::Rgb
    };
    Ok(ModelOverrides {
        size: input,
        steps: Steps {
            orientation: Some(true),
            resize: Some(fit),
            resize_to: to,
            filter: Some(filter),
            antialias: Some(true),
            arithmetic: Some(Arithmetic::Pillow),
            crop_rounding: Some(CropRounding::Down),
            ..Steps::default()
        },
        channels: (!gray).then_some(color),
        scale: Some(scale),
        mean,
        std,
        ..ModelOverrides::default()
    })
}
