//! What kiln writes beside the graph, so that the file alone is enough to classify an image
//! correctly.

mod edit;

pub use edit::replace_metadata;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use kiln_model::{Layout, OutputKind, ParseEnumError, Preprocessing, check_thresholds};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::hint::Hint;
use crate::proto::{ModelProto, StringStringEntryProto};

/// What the keys of kiln start with.
pub const KEY_PREFIX: &str = "kiln.";

const FORMAT: &str = "kiln.format";
const PREPROCESSING: &str = "kiln.preprocessing";
const LABELS: &str = "kiln.labels";
const LAYOUT: &str = "kiln.layout";
const OUTPUT: &str = "kiln.output";
const OUTPUT_NAME: &str = "kiln.output_name";
const THRESHOLD: &str = "kiln.threshold";
const PROVENANCE: &str = "kiln.provenance";
const GOLDEN: &str = "kiln.golden";

/// Every key that [`Metadata`] covers.
const OWN: [&str; 9] = [
    FORMAT,
    PREPROCESSING,
    LABELS,
    LAYOUT,
    OUTPUT,
    OUTPUT_NAME,
    THRESHOLD,
    PROVENANCE,
    GOLDEN,
];

/// The version of the keys that this code reads and writes.
///
/// It is raised when a reader that knows only the older keys would run a model wrongly: when a key
/// changes its meaning, or a new one must not be ignored. A key that can be ignored is
/// added without.
///
/// 2: the preprocessing record may have more than size, channels, antialiasing and values. A file
/// whose record has no more is written as 1, so that older readers take it.
const FORMAT_VERSION: u32 = 2;

/// The metadata of a model, as kept in `metadata_props` of the file. Each part is optional: models
/// made elsewhere have none.
///
/// | key | value |
/// | --- | --- |
/// | `kiln.format` | `1`, or `2` where the record has steps that older readers do not know |
/// | `kiln.preprocessing` | JSON of [`Preprocessing`] |
/// | `kiln.labels` | JSON array of strings, in the order of the classes |
/// | `kiln.layout` | `nchw` or `nhwc`: the order of the input's axes |
/// | `kiln.output` | `logits`, `probabilities`, `log_probabilities`, `sigmoid` or `sigmoid_logits` |
/// | `kiln.output_name` | name of the graph's output that has the scores, where it is not the first |
/// | `kiln.threshold` | JSON array of what the probability of a class has to exceed, 0 to 1, where each has one by itself: one number, or one for each class |
/// | `kiln.provenance` | JSON object of strings |
/// | `kiln.golden` | JSON of [`Golden`] |
///
/// `docs/metadata.schema.json` is their JSON Schema.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metadata {
    /// How an image becomes the model's input.
    pub preprocessing: Option<Preprocessing>,
    /// The names of the classes, in the order of the output; at least one.
    pub labels: Option<Vec<String>>,
    /// The order of the axes of the graph's input.
    pub layout: Option<Layout>,
    /// What the output is.
    pub output: Option<OutputKind>,
    /// The graph's output that has the scores, where it is not the first.
    pub output_name: Option<String>,
    /// What the probability of a class has to exceed, 0 to 1, where each class has one by itself: one for all
    /// classes, or one for each.
    pub threshold: Option<Vec<f32>>,
    /// Where the model comes from: recipe, seed, versions and the like. Empty where nothing is
    /// said.
    pub provenance: BTreeMap<String, String>,
    /// Inputs with the scores that the model gives for them.
    pub golden: Option<Golden>,
}

impl Metadata {
    /// Reads kiln's keys and checks what they hold; other keys are ignored.
    pub fn from_props(props: &[StringStringEntryProto]) -> Result<Self, MetadataError> {
        // First, because a newer version may give the other keys another meaning.
        if let Some(found) = find(props, FORMAT)? {
            check_format(found)?;
        }
        let preprocessing: Option<Preprocessing> = json(props, PREPROCESSING)?;
        if let Some(record) = &preprocessing {
            record
                .check()
                .map_err(|error| MetadataError::value(PREPROCESSING, error))?;
        }
        let labels: Option<Vec<String>> = json(props, LABELS)?;
        if labels.as_ref().is_some_and(Vec::is_empty) {
            return Err(MetadataError::value(LABELS, "there are no labels"));
        }
        let (layout, output) = (word(props, LAYOUT)?, word(props, OUTPUT)?);
        let output_name = find(props, OUTPUT_NAME)?.map(str::to_owned);
        let threshold: Option<Vec<f32>> = json(props, THRESHOLD)?;
        if let Some(thresholds) = &threshold {
            check_thresholds(thresholds).map_err(|error| MetadataError::value(THRESHOLD, error))?;
        }
        let provenance = json(props, PROVENANCE)?.unwrap_or_default();
        let golden: Option<Golden> = json(props, GOLDEN)?;
        if let Some(golden) = &golden {
            golden
                .check()
                .map_err(|reason| MetadataError::value(GOLDEN, reason))?;
        }
        Ok(Self {
            preprocessing,
            labels,
            layout,
            output,
            output_name,
            threshold,
            provenance,
            golden,
        })
    }

    /// The key-value pairs, `kiln.format` first; parts that are not set are left out.
    pub fn to_props(&self) -> Vec<StringStringEntryProto> {
        let entry = |key: &str, value| StringStringEntryProto {
            key: key.to_owned(),
            value,
        };
        let plain = |record: &Preprocessing| record.is_plain();
        let old_output = match self.output {
            Some(OutputKind::Logits | OutputKind::Probabilities) | None => {
                self.output_name.is_none() && self.threshold.is_none()
            }
            Some(
                OutputKind::LogProbabilities | OutputKind::Sigmoid | OutputKind::SigmoidLogits,
            ) => false,
        };
        let version = if old_output && self.preprocessing.as_ref().is_none_or(plain) {
            1
        } else {
            FORMAT_VERSION
        };
        let mut props = vec![entry(FORMAT, version.to_string())];
        if let Some(record) = &self.preprocessing {
            props.push(entry(PREPROCESSING, to_json(record)));
        }
        if let Some(labels) = &self.labels {
            props.push(entry(LABELS, to_json(labels)));
        }
        if let Some(layout) = self.layout {
            props.push(entry(LAYOUT, layout.to_string()));
        }
        if let Some(output) = self.output {
            props.push(entry(OUTPUT, output.to_string()));
        }
        if let Some(name) = &self.output_name {
            props.push(entry(OUTPUT_NAME, name.clone()));
        }
        if let Some(threshold) = &self.threshold {
            props.push(entry(THRESHOLD, to_json(threshold)));
        }
        if !self.provenance.is_empty() {
            props.push(entry(PROVENANCE, to_json(&self.provenance)));
        }
        if let Some(golden) = &self.golden {
            props.push(entry(GOLDEN, to_json(golden)));
        }
        props
    }
}

impl ModelProto {
    /// Reads kiln's metadata.
    pub fn metadata(&self) -> Result<Metadata, MetadataError> {
        Metadata::from_props(&self.metadata_props)
    }

    /// Replaces the metadata that [`Metadata`] covers; other keys stay.
    pub fn set_metadata(&mut self, metadata: &Metadata) {
        self.metadata_props
            .retain(|entry| !OWN.contains(&entry.key.as_str()));
        self.metadata_props.extend(metadata.to_props());
    }
}

fn check_format(found: &str) -> Result<(), MetadataError> {
    match found.parse::<u32>() {
        Ok(1..=FORMAT_VERSION) => Ok(()),
        Ok(newer) if newer > FORMAT_VERSION => Err(MetadataError::Newer {
            found: newer,
            supported: FORMAT_VERSION,
        }),
        _ => Err(MetadataError::value(
            FORMAT,
            format_args!("expected 1 to {FORMAT_VERSION}, found `{found}`"),
        )),
    }
}

fn find<'a>(
    props: &'a [StringStringEntryProto],
    key: &'static str,
) -> Result<Option<&'a str>, MetadataError> {
    let mut found = props.iter().filter(|entry| entry.key == key);
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => Err(MetadataError::value(key, "the key is there twice")),
        (entry, _) => Ok(entry.map(|entry| entry.value.as_str())),
    }
}

fn word<T: FromStr<Err = ParseEnumError>>(
    props: &[StringStringEntryProto],
    key: &'static str,
) -> Result<Option<T>, MetadataError> {
    find(props, key)?
        .map(str::parse)
        .transpose()
        .map_err(|error: ParseEnumError| {
            let (expected, found) = (error.expected(), error.found());
            MetadataError::value(
                key,
                format_args!("expected one of {expected}, found `{found}`"),
            )
        })
}

fn json<T: DeserializeOwned>(
    props: &[StringStringEntryProto],
    key: &'static str,
) -> Result<Option<T>, MetadataError> {
    let Some(text) = find(props, key)? else {
        return Ok(None);
    };
    serde_json::from_str(text)
        .map(Some)
        .map_err(|error| MetadataError::value(key, error))
}

/// JSON of strings, numbers, lists and structs, which cannot fail: it is written to memory and has
/// string keys only.
fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Inputs with the scores that a model gives for them, computed by the program that trained it:
/// what proves that another one prepares images and computes the graph as it should.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Golden {
    /// What computed the scores, such as `Burn, cpu (flex, kiln's kernels)`.
    pub computed_by: String,
    /// At least one.
    pub vectors: Vec<GoldenVector>,
}

/// One input with its scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoldenVector {
    /// Where the image comes from, such as `mnist:test, image 18`.
    pub source: String,
    /// Height in pixels, at least 1.
    pub height: u32,
    /// Width in pixels, at least 1.
    pub width: u32,
    /// Samples of a pixel: 1 (gray), 2 (gray, alpha), 3 (red, green, blue) or 4 (red, green, blue,
    /// alpha).
    pub channels: u32,
    /// The image before all preprocessing, 8 bits a sample, HWC; base64 in the file.
    #[serde(with = "base64_bytes")]
    pub pixels: Vec<u8>,
    /// The graph's first output for it, one score per class.
    pub scores: Vec<f32>,
    /// Name of the class with the largest score.
    pub label: String,
    /// Largest difference of a score that passes, more than 0.
    pub tolerance: f64,
}

impl Golden {
    /// Says what is wrong, if anything is.
    fn check(&self) -> Result<(), String> {
        if self.vectors.is_empty() {
            return Err("there are no vectors".into());
        }
        let checked = self
            .vectors
            .iter()
            .enumerate()
            .map(|(at, v)| v.check().map_err(|e| format!("vector {at}: {e}")));
        checked.collect()
    }
}

impl GoldenVector {
    fn check(&self) -> Result<(), String> {
        let Self {
            height,
            width,
            channels,
            ..
        } = *self;
        let expected = u64::from(height)
            .checked_mul(width.into())
            .and_then(|n| n.checked_mul(channels.into()));
        if !(1..=4).contains(&channels)
            || expected == Some(0)
            || expected != Some(self.pixels.len() as u64)
        {
            let found = self.pixels.len();
            return Err(format!(
                "{found} bytes of pixels are no image of {height}x{width} with {channels} channels"
            ));
        }
        if self.scores.is_empty() || self.scores.iter().any(|score| !score.is_finite()) {
            return Err("expected one finite score per class".into());
        }
        if !(self.tolerance.is_finite() && self.tolerance > 0.0) {
            return Err(format!(
                "the tolerance is {}: expected a number above 0",
                self.tolerance
            ));
        }
        Ok(())
    }
}

/// Bytes as base64 with padding (RFC 4648, section 4).
mod base64_bytes {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD
            .decode(text)
            .map_err(|error| de::Error::custom(format_args!("expected base64: {error}")))
    }
}

/// Metadata that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// The file was written by a newer kiln.
    #[error("the model's metadata has format {found}, this kiln reads up to {supported}")]
    Newer {
        /// Format found.
        found: u32,
        /// Newest format that can be read.
        supported: u32,
    },
    /// A key holds what it must not.
    #[error("metadata key `{key}`: {reason}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl MetadataError {
    /// Returns what can be done about it.
    pub const fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::Newer { .. } => Hint::Update,
            Self::Value { .. } => Hint::CorrectMetadata,
        })
    }

    fn value(key: &'static str, reason: impl fmt::Display) -> Self {
        Self::Value {
            key,
            reason: reason.to_string(),
        }
    }
}

#[cfg(test)]
mod tests;
