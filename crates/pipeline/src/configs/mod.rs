//! What other tools write about a model's images, as model overrides: Hugging Face's
//! `preprocessor_config.json`, timm's `config.json`, and the metadata of Ultralytics in the file.

mod hugging_face;

use std::path::{Path, PathBuf};

use kiln_inference::ModelOverrides;
use kiln_model::{Channels, Filter, Fit, Preprocess, Preprocessing, Steps};
use kiln_onnx::ModelProto;
use serde_json::{Map, Value};

use crate::error::models::OverridesError;

use hugging_face::hugging_face;

/// Name of Hugging Face's file.
pub(crate) const HUGGING_FACE: &str = "preprocessor_config.json";
/// Name of timm's file, and of Hugging Face's with the names of classes.
pub(crate) const CONFIG: &str = "config.json";

/// Longest file about a model: 16 MiB, room for very many names of classes.
const MAX_BYTES: u64 = 16 << 20;

/// Where preprocessing of another tool was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// In Hugging Face's `preprocessor_config.json`.
    HuggingFace(PathBuf),
    /// In timm's `config.json`.
    Timm(PathBuf),
    /// In the metadata that Ultralytics writes into the model.
    Ultralytics,
}

impl Found {
    /// Describes it, for people.
    pub fn describe(&self) -> String {
        match self {
            Self::HuggingFace(path) => format!("Hugging Face's {}", path.display()),
            Self::Timm(path) => format!("timm's {}", path.display()),
            Self::Ultralytics => "Ultralytics' metadata in the file".into(),
        }
    }
}

/// Looks for what another tool says about a model: in the file, then in its folder, and in the folder
/// above where the model's is called `onnx`, as in Hugging Face's repositories.
pub(crate) fn find(
    model: &Path,
    proto: &ModelProto,
) -> Result<Option<(Found, ModelOverrides)>, OverridesError> {
    if let Some(overrides) = ultralytics(proto) {
        return Ok(Some((Found::Ultralytics, overrides)));
    }
    let folder = model.parent().unwrap_or(Path::new(""));
    let above = folder.parent().filter(|_| folder.ends_with("onnx"));
    for folder in [Some(folder), above].into_iter().flatten() {
        let path = folder.join(HUGGING_FACE);
        if let Some(config) = read(&path)? {
            let mut overrides = hugging_face(&config).map_err(|problem| wrong(&path, problem))?;
            // Names of classes are a help; a file of another tool without them is none's fault.
            let names = read(&folder.join(CONFIG)).ok().flatten();
            overrides.labels = names.and_then(|config| id2label(&config));
            return Ok(Some((Found::HuggingFace(path), overrides)));
        }
        let path = folder.join(CONFIG);
        let config = read(&path)?.filter(|config| config.contains_key("pretrained_cfg"));
        if let Some(config) = config {
            let overrides = timm(&config).map_err(|problem| wrong(&path, problem))?;
            return Ok(Some((Found::Timm(path), overrides)));
        }
    }
    Ok(None)
}

/// Looks for the names of a model's classes, where nothing else of another tool is wanted: in the
/// file, then in `config.json` in its folder, and in the folder above where the model's is called
/// `onnx`. What does not fit the graph is left alone; a file of another tool is none's fault.
pub(crate) fn find_labels(model: &Path, proto: &ModelProto) -> Option<(Found, Vec<String>)> {
    let fits = |labels: &Vec<String>| {
        proto.outputs().iter().any(|output| {
            let classes = output.shape.as_ref().and_then(|shape| shape.get(1));
            classes.is_none_or(|classes| classes.fixed().is_none_or(|found| found == labels.len()))
        })
    };
    if let Some(labels) = prop(proto, "names").and_then(python_names).filter(fits) {
        return Some((Found::Ultralytics, labels));
    }
    let folder = model.parent().unwrap_or(Path::new(""));
    let above = folder.parent().filter(|_| folder.ends_with("onnx"));
    [Some(folder), above]
        .into_iter()
        .flatten()
        .find_map(|folder| {
            let path = folder.join(CONFIG);
            let config = read(&path).ok().flatten()?;
            let labels = id2label(&config).or_else(|| label_names(&config));
            let labels = labels.filter(fits)?;
            Some(if config.contains_key("pretrained_cfg") {
                (Found::Timm(path), labels)
            } else {
                (Found::HuggingFace(path), labels)
            })
        })
}

fn wrong(path: &Path, problem: String) -> OverridesError {
    OverridesError::Config {
        path: path.into(),
        problem,
    }
}

/// Reads an object of JSON; none where there is no such file.
fn read(path: &Path) -> Result<Option<Map<String, Value>>, OverridesError> {
    if !path.is_file() {
        return Ok(None);
    }
    let fail = |error: &dyn std::fmt::Display| wrong(path, error.to_string());
    let metadata = std::fs::metadata(path).map_err(|error| fail(&error))?;
    if metadata.len() > MAX_BYTES {
        return Err(fail(&"expected a file of at most 16 MiB"));
    }
    let bytes = std::fs::read(path).map_err(|error| fail(&error))?;
    match serde_json::from_slice(&bytes).map_err(|error| fail(&error))? {
        Value::Object(object) => Ok(Some(object)),
        _ => Err(fail(&"expected a JSON object")),
    }
}

type Config = Map<String, Value>;

/// A value that is there and not null.
fn get<'a>(config: &'a Config, key: &str) -> Option<&'a Value> {
    config.get(key).filter(|value| !value.is_null())
}

fn flag(config: &Config, key: &str, default: bool) -> Result<bool, String> {
    get(config, key).map_or(Ok(default), |value| {
        value
            .as_bool()
            .ok_or_else(|| format!("`{key}` must be true or false, found {value}"))
    })
}

fn number(config: &Config, key: &str) -> Result<Option<f64>, String> {
    let number = |value: &Value| {
        value
            .as_f64()
            .ok_or_else(|| format!("`{key}` must be a number, found {value}"))
    };
    get(config, key).map(number).transpose()
}

fn numbers(config: &Config, key: &str) -> Result<Option<Vec<f32>>, String> {
    let Some(value) = get(config, key) else {
        return Ok(None);
    };
    let one = |value: &Value| value.as_f64().map(|number| number as f32);
    let several: Option<Vec<f32>> = match value {
        Value::Array(values) => values.iter().map(one).collect(),
        value => one(value).map(|number| vec![number]),
    };
    several
        .map(Some)
        .ok_or_else(|| format!("`{key}` must be numbers, found {value}"))
}

fn side(key: &str, value: &Value) -> Result<u32, String> {
    let side = value.as_u64().and_then(|side| u32::try_from(side).ok());
    side.filter(|side| (1..=Preprocessing::MAX_SIDE).contains(side))
        .ok_or_else(|| {
            format!(
                "`{key}` must have sides from 1 to {}, found {value}",
                Preprocessing::MAX_SIDE
            )
        })
}

/// Reads timm's `config.json`, of which `create_transform` makes the pipeline.
pub(crate) fn timm(config: &Config) -> Result<ModelOverrides, String> {
    let Some(Value::Object(own)) = get(config, "pretrained_cfg") else {
        return Err("`pretrained_cfg` must be an object".into());
    };
    let word = |key| get(own, key).and_then(Value::as_str);
    let filter = match word("interpolation") {
        Some("bicubic") | None => Filter::Bicubic,
        Some("bilinear") => Filter::Bilinear,
        Some("nearest") => Filter::Nearest,
        Some("lanczos") => Filter::Lanczos,
        Some(other) => {
            return Err(format!(
                "`interpolation` is `{other}`: expected nearest, bilinear, bicubic or lanczos"
            ));
        }
    };
    let fit = match word("crop_mode") {
        Some("center") | None => Fit::Shorter,
        Some("squash") => Fit::Stretch,
        Some("border") => Fit::Longer,
        Some(other) => {
            return Err(format!(
                "`crop_mode` is `{other}`: expected center, squash or border"
            ));
        }
    };
    let (channels, size) = match get(own, "input_size") {
        None => (Channels::Rgb, None),
        Some(value) => match value.as_array().map(Vec::as_slice) {
            Some([channels, height, width]) => {
                let channels = match channels.as_u64() {
                    Some(1) => Channels::Gray,
                    Some(3) => Channels::Rgb,
                    _ => return Err(format!("kiln takes 1 or 3 channels, found {channels}")),
                };
                let size = [side("input_size", height)?, side("input_size", width)?];
                (channels, Some(size))
            }
            _ => {
                return Err(format!(
                    "`input_size` must be [channels, height, width], found {value}"
                ));
            }
        },
    };
    let crop_pct = number(own, "crop_pct")?.unwrap_or(0.875);
    kiln_model::check_share(crop_pct)
        .map_err(|expected| format!("`crop_pct` is {crop_pct}: {expected}"))?;
    let gray = channels == Channels::Gray;
    let usual = |key, values: [f32; 3]| -> Result<Vec<f32>, String> {
        let count = if gray { 1 } else { 3 };
        Ok(numbers(own, key)?.unwrap_or_else(|| values[..count].to_vec()))
    };
    let mean = usual("mean", [0.485, 0.456, 0.406])?;
    let fill = |at: usize| {
        let mean = mean.get(at).or(mean.first()).copied().unwrap_or_default();
        (255.0 * f64::from(mean)).round_ties_even() as u8
    };
    Ok(ModelOverrides {
        size,
        steps: Steps {
            resize: Some(fit),
            crop_pct: Some(crop_pct),
            filter: Some(filter),
            padding: (fit == Fit::Longer).then(|| [fill(0), fill(1), fill(2)]),
            ..Preprocess::Timm.steps()
        },
        channels: Some(channels),
        scale: Some(1.0 / 255.0),
        std: Some(usual("std", [0.229, 0.224, 0.225])?),
        mean: Some(mean),
        labels: label_names(config),
        ..ModelOverrides::default()
    })
}

fn strings(values: &[Value]) -> Option<Vec<String>> {
    let names: Option<Vec<String>> = values
        .iter()
        .map(|value| value.as_str().map(str::to_owned))
        .collect();
    names.filter(|names| !names.is_empty())
}

/// The names of the classes in timm's `config.json`.
fn label_names(config: &Config) -> Option<Vec<String>> {
    let names = get(config, "label_names")?.as_array()?;
    strings(names)
}

/// The names of the classes in Hugging Face's `config.json`, if each has one.
fn id2label(config: &Config) -> Option<Vec<String>> {
    let names = get(config, "id2label")?.as_object()?;
    let name = |id: usize| names.get(&id.to_string())?.as_str().map(str::to_owned);
    let labels: Option<Vec<String>> = (0..names.len()).map(name).collect();
    labels.filter(|labels| !labels.is_empty())
}

fn prop<'a>(proto: &'a ModelProto, key: &str) -> Option<&'a str> {
    let mut props = proto.metadata_props.iter();
    let entry = props.find(|entry| entry.key == key);
    entry.map(|entry| entry.value.as_str())
}

/// Reads what Ultralytics writes into a classifier: `task`, `imgsz` and `names`, in Python's notation.
fn ultralytics(proto: &ModelProto) -> Option<ModelOverrides> {
    let prop = |key: &str| prop(proto, key);
    if prop("author") != Some("Ultralytics") || prop("task") != Some("classify") {
        return None;
    }
    let size = prop("imgsz").and_then(|text| {
        let sides: Option<Vec<u32>> = text
            .trim_matches(['[', ']', '(', ')'])
            .split(',')
            .map(|side| side.trim().parse().ok())
            .collect();
        <[u32; 2]>::try_from(sides?).ok()
    });
    Some(ModelOverrides {
        preprocess: Some(Preprocess::Ultralytics),
        size,
        labels: prop("names").and_then(python_names),
        ..ModelOverrides::default()
    })
}

/// Reads `{0: 'cat', 1: "dog's"}`, numbers from 0 in order.
fn python_names(text: &str) -> Option<Vec<String>> {
    let mut rest = text.trim().strip_prefix('{')?.trim_start();
    let mut names = Vec::new();
    while !rest.starts_with('}') {
        let (id, after) = rest.split_once(':')?;
        if id.trim().parse() != Ok(names.len()) {
            return None;
        }
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let mut name = String::new();
        let mut end = None;
        let mut escaped = false;
        for (at, c) in after.char_indices().skip(1) {
            match c {
                _ if escaped => {
                    name.push(c);
                    escaped = false;
                }
                '\\' => escaped = true,
                _ if c == quote => {
                    end = Some(at + 1);
                    break;
                }
                _ => name.push(c),
            }
        }
        names.push(name);
        rest = after[end?..].trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    (!names.is_empty()).then_some(names)
}

#[cfg(test)]
mod tests;
