//! A model's input and output as options, a sidecar or metadata specify them: among them the layout of
//! the input, the meaning of the output and the names of the classes.

use std::collections::HashMap;

use kiln_util::closest;
use toml::de::DeValue;

use crate::document::{self, Bound, Field, RecipeError, Section, Source};
use crate::steps::size;
use crate::{Channels, Preprocess, Preprocessing, PreprocessingError, Steps};

const KEYS: &[&str] = &[
    "preprocess",
    "size",
    "channels",
    "orientation",
    "background",
    "resize",
    "resize_to",
    "crop_pct",
    "filter",
    "antialias",
    "arithmetic",
    "padding",
    "crop_rounding",
    "reducing_gap",
    "scale",
    "mean",
    "std",
    "labels",
    "layout",
    "output",
    "output_name",
    "threshold",
];

/// What one source specifies about a model's input and output. Each part may be left to another
/// source or the graph.
///
/// A pixel value `p`, 0 to 255, of channel `c` becomes `(p * scale - mean[c]) / std[c]`, as in
/// [`Preprocessing`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelOverrides {
    /// Name that stands for channels, scale, mean and standard deviation, and that of a pipeline for
    /// its steps too.
    pub preprocess: Option<Preprocess>,
    /// Height and width in pixels.
    pub size: Option<[u32; 2]>,
    /// The channels and their order, which is also that of `mean` and `std`.
    pub channels: Option<Channels>,
    /// Turning, background, resizing, cropping and padding.
    pub steps: Steps,
    /// Factor applied to pixel values of 0 to 255.
    pub scale: Option<f32>,
    /// Subtracted after scaling: one value per channel, or one for all.
    pub mean: Option<Vec<f32>>,
    /// Divides last: one value per channel, or one for all.
    pub std: Option<Vec<f32>>,
    /// The names of the classes, in the order of the output.
    pub labels: Option<Vec<String>>,
    /// The order of the axes of the graph's input.
    pub layout: Option<Layout>,
    /// What the scores are.
    pub output: Option<OutputKind>,
    /// The name of the graph's output that has the scores.
    pub output_name: Option<String>,
    /// What the probability of a class has to exceed, 0 to 1, where each class has one by itself: one for all
    /// classes, or one for each.
    pub threshold: Option<Vec<f32>>,
}

/// Overrides that make no preprocessing record.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OverridesError {
    /// No source specifies how pixel values become numbers.
    #[error("how pixel values become numbers is not specified")]
    NoNormalization,
    /// No source specifies the size, and the graph leaves it open.
    #[error("the size of the images is not specified, and the graph leaves it open")]
    NoSize,
    /// A name that is for other channels.
    #[error(
        "`{preprocess}` has a mean for each channel in the order {expected}, found the channels {found}: leave them out"
    )]
    Channels {
        /// The name.
        preprocess: Preprocess,
        /// The channels that it is for.
        expected: Channels,
        /// The channels specified.
        found: Channels,
    },
    /// Values that do not fit together.
    #[error(transparent)]
    Record(#[from] PreprocessingError),
}

impl ModelOverrides {
    /// Whether TOML is meant to be a sidecar, rather than a file of somebody else's: it has at least
    /// one key of a sidecar, or one that is nearly so. What is not TOML is left to
    /// [`parse`](Self::parse).
    pub fn is_sidecar(text: &str) -> bool {
        let Ok(table) = toml::de::DeTable::parse(text) else {
            return true;
        };
        // Short words are near too many others.
        let near = |key: &str| key.len() > 4 && closest(key, KEYS).is_some();
        table.get_ref().iter().any(|(key, value)| {
            let key = key.get_ref();
            // No key of a sidecar has a table.
            !matches!(value.get_ref(), DeValue::Table(_))
                && (KEYS.contains(&key.as_ref()) || near(key))
        })
    }

    /// Reads a sidecar: TOML with a key for each part.
    ///
    /// `origin` is the file's name for messages; each of `overrides` is a `key=value` as of
    /// `--set`. `labels` may be an array or the name of a file, which `read_labels` reads.
    pub fn parse(
        text: &str,
        origin: &str,
        overrides: &[String],
        read_labels: impl Fn(&str) -> Result<Vec<String>, String>,
    ) -> Result<Self, RecipeError> {
        let document = document::read(text, origin, overrides)?;
        let source = Source {
            origin,
            sections: &[],
        };
        let root = Section::root(source, &document, KEYS)?;
        let labels = |field: Field<'_>| {
            if field.is_array() {
                let names = field.array()?;
                return names
                    .iter()
                    .map(|name| name.string().map(str::to_owned))
                    .collect();
            }
            read_labels(field.string()?).map_err(|problem| field.error(problem))
        };
        Ok(Self {
            preprocess: root
                .get("preprocess")
                .map(|field| field.choice(&Preprocess::WORDS))
                .transpose()?,
            size: root.get("size").as_ref().map(size).transpose()?,
            channels: root
                .get("channels")
                .map(|field| field.choice(&Channels::WORDS))
                .transpose()?,
            steps: Steps::parse(&root)?,
            scale: root.get("scale").map(|field| number(&field)).transpose()?,
            mean: root.get("mean").map(|field| numbers(&field)).transpose()?,
            std: root.get("std").map(|field| numbers(&field)).transpose()?,
            labels: root.get("labels").map(labels).transpose()?,
            layout: root
                .get("layout")
                .map(|field| field.choice(&Layout::WORDS))
                .transpose()?,
            output: root
                .get("output")
                .map(|field| field.choice(&OutputKind::WORDS))
                .transpose()?,
            output_name: root
                .get("output_name")
                .map(|field| field.string().map(str::to_owned))
                .transpose()?,
            threshold: root
                .get("threshold")
                .map(|field| {
                    let thresholds = numbers(&field)?;
                    check_thresholds(&thresholds).map_err(|problem| field.error(problem))?;
                    Ok(thresholds)
                })
                .transpose()?,
        })
    }

    /// Returns these overrides, completed by `other`. A name for the preprocessing stands for all
    /// that it comprises: what it sets is not taken from `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let named = self.preprocess.is_some();
        let with_channels = self
            .preprocess
            .is_some_and(|preset| preset.channels().is_some());
        let with_steps = self.names_steps();
        let others = other.preprocess.map(Preprocess::steps);
        // A name for the values alone leaves the steps to the other source, whose own name is lost.
        let named_by_other = others.filter(|_| named).unwrap_or_default();
        let steps = if with_steps {
            self.steps
        } else {
            self.steps.or(other.steps).or(named_by_other)
        };
        Self {
            preprocess: self.preprocess.or(other.preprocess),
            size: self.size.or(other.size),
            channels: self.channels.or(other.channels.filter(|_| !with_channels)),
            steps,
            scale: self.scale.or(other.scale.filter(|_| !named)),
            mean: self.mean.or(other.mean.filter(|_| !named)),
            std: self.std.or(other.std.filter(|_| !named)),
            labels: self.labels.or(other.labels),
            layout: self.layout.or(other.layout),
            output: self.output.or(other.output),
            output_name: self.output_name.or(other.output_name),
            threshold: self.threshold.or(other.threshold),
        }
    }

    /// Whether this specifies how pixel values become numbers, or part of it.
    pub const fn specifies_normalization(&self) -> bool {
        self.preprocess.is_some()
            || self.scale.is_some()
            || self.mean.is_some()
            || self.std.is_some()
    }

    /// Whether the name for the preprocessing is that of a pipeline, which has steps too.
    pub fn names_steps(&self) -> bool {
        let steps = self.preprocess.map(Preprocess::steps);
        steps.is_some_and(|steps| steps != Steps::default())
    }

    /// Returns the steps specified, by themselves or by the name of a pipeline.
    pub fn specified_steps(&self) -> Steps {
        let named = self.preprocess.map(Preprocess::steps);
        self.steps.or(named.unwrap_or_default())
    }

    /// Returns the channels specified, by name or by the name of the preprocessing.
    pub fn specified_channels(&self) -> Option<Channels> {
        self.channels
            .or_else(|| self.preprocess.and_then(Preprocess::channels))
    }

    /// Makes the preprocessing record; size and channels are used where they are not specified.
    pub fn preprocessing(
        &self,
        size: Option<[u32; 2]>,
        channels: Channels,
    ) -> Result<Preprocessing, OverridesError> {
        if !self.specifies_normalization() {
            return Err(OverridesError::NoNormalization);
        }
        let preprocess = self.preprocess.unwrap_or(Preprocess::Raw);
        let [height, width] = self.size.or(size).ok_or(OverridesError::NoSize)?;
        let channels = self.specified_channels().unwrap_or(channels);
        if let Some(expected) = preprocess
            .channels()
            .filter(|&expected| expected != channels)
        {
            return Err(OverridesError::Channels {
                preprocess,
                expected,
                found: channels,
            });
        }
        let mut record = self
            .steps
            .or(preprocess.steps_for([height, width]))
            .apply(preprocess.record(height, width, channels));
        record.scale = self.scale.unwrap_or(record.scale);
        for (values, specified) in [(&mut record.mean, &self.mean), (&mut record.std, &self.std)] {
            match specified.as_deref() {
                None => {}
                Some(&[one]) => values.fill(one),
                Some(several) => *values = several.to_vec(),
            }
        }
        record.check()?;
        Ok(record)
    }
}

/// Everything that the record specifies.
impl From<Preprocessing> for ModelOverrides {
    fn from(record: Preprocessing) -> Self {
        let steps = Steps::of(&record);
        let Preprocessing {
            orientation: _,
            background: _,
            height,
            width,
            channels,
            resize: _,
            scale,
            mean,
            std,
        } = record;
        Self {
            size: Some([height, width]),
            channels: Some(channels),
            steps,
            scale: Some(scale),
            mean: Some(mean),
            std: Some(std),
            ..Self::default()
        }
    }
}

fn number(field: &Field<'_>) -> Result<f32, RecipeError> {
    match field.string() {
        Ok(text) => parse_number(text)
            .map_err(|expected| field.error(format!("{expected}, found `{text}`"))),
        Err(_) => field.number(Bound::Finite).map(|value| value as f32),
    }
}

fn numbers(field: &Field<'_>) -> Result<Vec<f32>, RecipeError> {
    if field.is_array() {
        return field.array()?.iter().map(number).collect();
    }
    match field.string() {
        Ok(text) => parse_numbers(text)
            .map_err(|expected| field.error(format!("{expected}, found `{text}`"))),
        Err(_) => number(field).map(|value| vec![value]),
    }
}

/// Reads a number such as `0.0039`, or `1/255`. The error is what was expected.
pub fn parse_number(text: &str) -> Result<f32, String> {
    let part = |text: &str| text.trim().parse::<f32>().ok();
    let value = match text.split_once('/') {
        Some((above, below)) => part(above)
            .zip(part(below))
            .map(|(above, below)| above / below),
        None => part(text),
    };
    value
        .filter(|value| value.is_finite())
        .ok_or_else(|| "expected a number, or a fraction such as 1/255".into())
}

/// Reads numbers with commas between them.
pub fn parse_numbers(text: &str) -> Result<Vec<f32>, String> {
    text.split(',').map(parse_number).collect()
}

/// Checks thresholds of probabilities. The error is what was expected.
pub fn check_thresholds(thresholds: &[f32]) -> Result<(), String> {
    match thresholds
        .iter()
        .find(|threshold| !(0.0..=1.0).contains(*threshold))
    {
        Some(found) => Err(format!("expected a threshold from 0 to 1, found {found}")),
        None => Ok(()),
    }
}

/// Reads a threshold of a probability, 0 to 1. The error is what was expected.
pub fn parse_threshold(text: &str) -> Result<f32, String> {
    let threshold = parse_number(text)?;
    check_thresholds(&[threshold]).map(|()| threshold)
}

/// The order of the axes of a graph's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `[batch, channels, height, width]`: PyTorch's, and kiln's own.
    Nchw,
    /// `[batch, height, width, channels]`: TensorFlow's and Keras's.
    Nhwc,
}

kiln_util::str_enum!(Layout: Serialize + Deserialize { Nchw = "nchw", Nhwc = "nhwc" });

impl Layout {
    /// Returns the shape of one image in this order of axes.
    pub const fn image_shape(self, [channels, height, width]: [usize; 3]) -> [usize; 3] {
        match self {
            Self::Nchw => [channels, height, width],
            Self::Nhwc => [height, width, channels],
        }
    }
}

/// Meaning of a classifier's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OutputKind {
    /// Unnormalized scores; softmax makes probabilities of them.
    #[default]
    Logits,
    /// Probabilities that sum to 1: the graph ends in a softmax.
    Probabilities,
    /// Their natural logarithms: the graph ends in a log-softmax.
    LogProbabilities,
    /// A probability for each class by itself, of several that an image can have: the graph ends in a
    /// sigmoid.
    Sigmoid,
    /// Unnormalized scores; a sigmoid makes of each the probability of a class by itself.
    SigmoidLogits,
}

kiln_util::str_enum!(OutputKind {
    Logits = "logits",
    Probabilities = "probabilities",
    LogProbabilities = "log_probabilities",
    Sigmoid = "sigmoid",
    SigmoidLogits = "sigmoid_logits",
});

impl OutputKind {
    /// Whether softmax makes probabilities of the scores. It does of their logarithms too.
    pub const fn takes_softmax(self) -> bool {
        match self {
            Self::Logits | Self::LogProbabilities => true,
            Self::Probabilities | Self::Sigmoid | Self::SigmoidLogits => false,
        }
    }

    /// Whether each class has a probability by itself, of several that an image can have.
    pub const fn is_independent(self) -> bool {
        match self {
            Self::Sigmoid | Self::SigmoidLogits => true,
            Self::Logits | Self::Probabilities | Self::LogProbabilities => false,
        }
    }

    /// Whether the scores are probabilities.
    pub const fn is_probabilities(self) -> bool {
        match self {
            Self::Probabilities | Self::Sigmoid => true,
            Self::Logits | Self::LogProbabilities | Self::SigmoidLogits => false,
        }
    }
}

/// Finds the first class that has the name of another, and returns the numbers of both from 0, the
/// earlier one first.
pub fn repeated_label(labels: &[String]) -> Option<[usize; 2]> {
    let mut seen = HashMap::with_capacity(labels.len());
    labels
        .iter()
        .enumerate()
        .find_map(|(at, label)| seen.insert(label, at).map(|before| [before, at]))
}

#[cfg(test)]
mod tests;
