//! What can go wrong when a model is loaded or run.

use kiln_model::OverridesError;
use kiln_onnx::{DecodeError, MetadataError, ReadError, TensorError};
use kiln_preprocess::PreprocessError;

use crate::engine::error::EngineError;
use crate::hint::{Hint, Unspecified};

/// A model that cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[error("cannot load {origin}: {kind}")]
pub struct LoadError {
    /// The file in backquotes, or `the model in memory`.
    pub origin: String,
    /// The cause. Its text is part of this error's, so it is not the `source` too.
    pub kind: LoadErrorKind,
}

impl LoadError {
    /// Returns what can be done about it.
    pub fn hint(&self) -> Option<Hint> {
        self.kind.hint()
    }
}

/// Why a model cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadErrorKind {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The bytes are not an ONNX model that can be used.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Weights that cannot be read.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The metadata cannot be used.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The preprocessing that the caller specifies is inconsistent.
    #[error("the preprocessing given: {0}")]
    Preprocessing(OverridesError),
    /// Something that neither the file nor the caller specifies.
    #[error("the file does not specify the {0} (metadata key `{key}`) and none was given", key = .0.key())]
    Unspecified(Unspecified),
    /// The graph's inputs are not those of an image classifier.
    #[error("expected one {expected}, found {found}")]
    Input {
        /// Type and shape by the preprocessing record.
        expected: String,
        /// What the graph declares.
        found: String,
        /// What can be done about it.
        hint: Hint,
    },
    /// A graph of pixels with preprocessing that leaves none.
    #[error("the graph takes uint8 pixels, but the preprocessing scales or shifts them")]
    Pixels,
    /// The graph's output does not fit the labels.
    #[error(
        "expected an output of float32 [batch, {labels}] for {labels} label{}, found {found}",
        if *labels == 1 { "" } else { "s" }
    )]
    Output {
        /// Number of labels.
        labels: usize,
        /// What the graph declares.
        found: String,
    },
    /// The output is of another type than floats, whatever its shape.
    #[error("expected an output of floats, found {found}")]
    OutputType {
        /// What the graph declares.
        found: String,
    },
    /// One score for an image, as of a binary classifier, and another number of labels than two.
    #[error("the model gives one score for each image, which takes 2 labels, found {labels}")]
    OneScore {
        /// Number of labels.
        labels: usize,
    },
    /// Thresholds that do not fit the scores.
    #[error("{}", describe_thresholds(*found, *scores))]
    Thresholds {
        /// Number of thresholds.
        found: usize,
        /// Number of scores that are probabilities by themselves.
        scores: usize,
    },
    /// No output has the name that is specified.
    #[error("the graph has no output `{name}`, but {found}")]
    OutputName {
        /// The name.
        name: String,
        /// Those that it has.
        found: String,
    },
    /// An operator that draws random numbers.
    #[error("{node} draws random numbers: scores would differ from run to run")]
    Random {
        /// The node.
        node: String,
    },
    /// A softmax over the wrong axis.
    #[error(
        "{node} is taken over the batch rather than over the classes: a single image would have a probability of 1 for every class"
    )]
    SoftmaxOverBatch {
        /// The node.
        node: String,
    },
    /// A number among the options that has to be at least 1.
    #[error("the option `{option}` is 0")]
    Zero {
        /// Its name.
        option: &'static str,
    },
    /// The thread pool cannot be made.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// Number asked for.
        threads: usize,
        /// The system's message.
        reason: String,
    },
    /// The engine refuses the model, or is not available.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<kiln_onnx::LoadError> for LoadErrorKind {
    fn from(error: kiln_onnx::LoadError) -> Self {
        match error {
            kiln_onnx::LoadError::Read { reason, .. } => reason.into(),
            kiln_onnx::LoadError::Decode { reason, .. } => reason.into(),
        }
    }
}

fn describe_thresholds(found: usize, scores: usize) -> String {
    if scores == 0 {
        return "a threshold is for probabilities of each class by itself, and the classes of this model exclude each other"
            .to_owned();
    }
    format!("expected a threshold, or one for each of {scores} scores, found {found}")
}

impl LoadErrorKind {
    /// Returns what can be done about it.
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::Read(_) => Hint::File(kiln_onnx::Hint::CheckPath),
            Self::Decode(error) => Hint::File(error.hint()?),
            Self::Tensor(error) => Hint::File(error.hint()?),
            Self::Metadata(error) => Hint::File(error.hint()?),
            Self::Preprocessing(_) => Hint::CheckPreprocessing,
            Self::Unspecified(what) => Hint::Specify(*what),
            Self::Input { hint, .. } => hint.clone(),
            Self::Pixels => Hint::KeepPixels,
            Self::Output { .. } => Hint::MatchLabels,
            Self::OutputType { .. } => Hint::FloatOutput,
            Self::OneScore { .. } => Hint::TwoLabels,
            Self::Thresholds { scores: 0, .. } => Hint::OutputIsSigmoid,
            Self::Thresholds { .. } => Hint::MatchThresholds,
            Self::OutputName { .. } => Hint::ChooseOutput,
            Self::Random { .. } => Hint::ExportForInference,
            Self::SoftmaxOverBatch { .. } => Hint::SoftmaxAxis,
            Self::Zero { .. } => Hint::AtLeastOne,
            Self::Threads { .. } => Hint::FewerThreads,
            Self::Engine(error) => return error.hint(),
        })
    }
}

/// An image or a batch that cannot be classified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The work was cancelled between two runs of the engine.
    #[error("the work was cancelled")]
    Cancelled,
    /// An image cannot be turned into the model's input.
    #[error("image {index} of the batch: {reason}")]
    Preprocess {
        /// Index of the image in the batch.
        index: usize,
        /// The cause. Its text is part of this error's, so it is not the `source` too.
        reason: PreprocessError,
    },
    /// The input has another length than the batch asks for.
    #[error("expected {expected} values for {images} images of {shape:?} (CHW), found {found}")]
    InputLength {
        /// Number of images.
        images: usize,
        /// Shape of one image, `[channels, height, width]`.
        shape: [usize; 3],
        /// Number of values that this takes.
        expected: usize,
        /// Number of values given.
        found: usize,
    },
    /// The input holds NaN or an infinity.
    #[error("input value {value} in image {index} of the batch: every value must be finite")]
    InputValue {
        /// Index of the image in the batch.
        index: usize,
        /// The value.
        value: f32,
    },
    /// The scores have another shape than the labels ask for.
    #[error("expected output `{name}` of shape {expected:?}, found {found:?}")]
    OutputShape {
        /// The output's name.
        name: String,
        /// `[images, labels]`.
        expected: [usize; 2],
        /// The shape found.
        found: Vec<usize>,
    },
    /// A score that is not a probability, of an output that is specified to hold some.
    #[error(
        "output `{name}` has the value {value} for image {index} of the batch, but is specified to hold probabilities, 0 to 1"
    )]
    NoProbability {
        /// The output's name.
        name: String,
        /// Index of the image in the batch.
        index: usize,
        /// The value.
        value: f32,
    },
    /// Scores that are no distribution, of an output that is specified to hold probabilities.
    #[error(
        "the probabilities in output `{name}` add up to {sum} for image {index} of the batch, expected 1"
    )]
    NoDistribution {
        /// The output's name.
        name: String,
        /// Index of the image in the batch.
        index: usize,
        /// Their sum.
        sum: f32,
    },
    /// The scores hold NaN or an infinity.
    #[error(
        "output `{name}` has the value {value} for image {index} of the batch, expected finite scores"
    )]
    OutputValue {
        /// The output's name.
        name: String,
        /// Index of the image in the batch.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A number among the options that has to be at least 1.
    #[error("the option `{option}` is 0")]
    Zero {
        /// Its name.
        option: &'static str,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The system refuses a thread.
    #[error("cannot start a thread: {reason}")]
    Thread {
        /// The system's error. Its text is part of this error's, so it is not the `source` too.
        reason: std::io::Error,
    },
}

impl RunError {
    /// Returns what can be done about it.
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::Preprocess { reason, .. } => Hint::Image(reason.hint()),
            Self::Cancelled | Self::InputLength { .. } | Self::OutputValue { .. } => return None,
            Self::InputValue { .. } => Hint::CheckInput,
            Self::OutputShape { .. } => Hint::MatchLabels,
            Self::NoProbability { .. } => Hint::OutputIsLogits,
            Self::NoDistribution { .. } => Hint::NoDistribution,
            Self::Zero { .. } => Hint::AtLeastOne,
            Self::Engine(error) => return error.hint(),
            Self::Thread { .. } => Hint::FewerThreads,
        })
    }
}

/// Why an image of a stream has no scores; `E` is why it could not be prepared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unclassified<E> {
    /// It could not be prepared.
    #[error(transparent)]
    Prepare(E),
    /// The graph gave NaN or an infinity for it.
    #[error(transparent)]
    NotFinite(NotFinite),
}

/// An image for which the graph gives NaN or an infinity. Where it does so for every image, the
/// model's weights are unusable; for one, that image is unusual: of one color, say, where the graph
/// divides by the deviation of its pixels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("output `{output}` is {value}, expected finite scores")]
pub struct NotFinite {
    /// The output's name.
    pub output: String,
    /// The value: `NaN`, `inf` or `-inf`.
    pub value: String,
}

/// Golden vectors that cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The file has none.
    #[error("the file has no golden vectors (metadata key `kiln.golden`)")]
    NoVectors,
    /// A golden vector has more or fewer scores than the model has classes.
    #[error("the golden vector of {image} has {found} scores, the model {classes} labels")]
    Classes {
        /// Where the vector's image comes from.
        image: String,
        /// Number of scores.
        found: usize,
        /// Number of labels.
        classes: usize,
    },
    /// A vector's image cannot be prepared, or the engine failed.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl VerifyError {
    /// Returns what can be done about it.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::NoVectors => Some(Hint::AddGolden),
            Self::Classes { .. } => Some(Hint::FileLabels),
            Self::Run(error) => error.hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn no_cause_is_both_text_and_source() {
        let reason = std::io::Error::other("no room");
        let errors: [Box<dyn Error>; 3] = [
            Box::new(LoadError {
                origin: "`m.onnx`".into(),
                kind: LoadErrorKind::Preprocessing(OverridesError::NoSize),
            }),
            Box::new(LoadErrorKind::Preprocessing(OverridesError::NoSize)),
            Box::new(RunError::Thread { reason }),
        ];
        for error in errors {
            assert!(error.source().is_none(), "{error}");
        }
    }

    #[test]
    fn hints_of_causes_are_passed_on() {
        let error = LoadError {
            origin: "`m.onnx`".into(),
            kind: DecodeError::Empty.into(),
        };
        assert_eq!(error.hint(), Some(Hint::File(kiln_onnx::Hint::FetchAgain)));
        assert!(!error.to_string().contains("fetch"), "{error}");
    }
}
