//! What can go wrong when a model is loaded or run.

use kiln_model::OverridesError;
use kiln_onnx::{DecodeError, MetadataError, ReadError};
use kiln_preprocess::PreprocessError;

use crate::engine::EngineError;

/// A model that cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[error("cannot load {origin}: {kind}")]
pub struct LoadError {
    /// The file in backquotes, or `the model in memory`.
    pub origin: String,
    /// What is wrong.
    pub kind: LoadErrorKind,
}

/// Why a model cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadErrorKind {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The bytes are no ONNX model that can be used.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The metadata cannot be used.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// What is declared about the preprocessing does not fit together.
    #[error("the preprocessing given: {0}")]
    Preprocessing(#[from] OverridesError),
    /// Something that the file does not say and that was not given.
    #[error(
        "the file does not say the {what} (metadata key `{key}`) and none was given: \
         export the model with kiln, or give the {what} in the options"
    )]
    NotSaid {
        /// What is missing.
        what: &'static str,
        /// The key that would say it.
        key: &'static str,
    },
    /// The graph's inputs are not those of an image classifier.
    #[error("expected one {expected}, found {found}: {advice}")]
    Input {
        /// Type and shape by the preprocessing record.
        expected: String,
        /// What the graph declares.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// A graph of pixels with preprocessing that leaves none.
    #[error(
        "the graph takes uint8 pixels, but the preprocessing scales or shifts them: give one that leaves pixels as they \
         are, since the graph does the rest"
    )]
    Pixels,
    /// The graph's first output does not fit the labels.
    #[error(
        "expected the first output to be float32 [batch, {labels}] for {labels} label{}, found {found}: \
         give as many labels as the model has classes",
        if *labels == 1 { "" } else { "s" }
    )]
    Output {
        /// Number of labels.
        labels: usize,
        /// What the graph declares.
        found: String,
    },
    /// One score for an image, as of a binary classifier that ends in a sigmoid: a softmax over it
    /// is always 1.
    #[error(
        "the model gives one score for each image, expected one for each of at least 2 classes: export it with an output \
         for each class, such as two units and a softmax in place of one and a sigmoid"
    )]
    OneScore,
    /// The graph ends in a sigmoid, and nobody says what its scores are.
    #[error(
        "the graph ends in a sigmoid, so its scores are not logits, and need not sum to 1: give the output in the options, \
         `Probabilities` to use them as they are, or `Logits` to apply a softmax"
    )]
    Sigmoid,
    /// A number among the options that has to be at least 1.
    #[error("the option `{option}` is 0: give at least 1, or leave it out")]
    Zero {
        /// Its name.
        option: &'static str,
    },
    /// The thread pool cannot be made.
    #[error("cannot start {threads} threads: {reason}: ask for fewer")]
    Threads {
        /// Number asked for.
        threads: usize,
        /// What the system says.
        reason: String,
    },
    /// The engine refuses the model, or is not there.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// An image or a batch that cannot be classified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// An image cannot be turned into the model's input.
    #[error("image {index} of the batch: {reason}")]
    Preprocess {
        /// Place of the image in the batch, from 0.
        index: usize,
        /// What is wrong with it.
        reason: PreprocessError,
    },
    /// The input has another length than the batch asks for.
    #[error(
        "input of {found} values for {images} images of {shape:?} (CHW): give {expected} values"
    )]
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
    #[error(
        "input value {value} in image {index} of the batch: every value must be finite; check how it was prepared"
    )]
    InputValue {
        /// Place of the image in the batch, from 0.
        index: usize,
        /// The value.
        value: f32,
    },
    /// The scores have another shape than the labels ask for.
    #[error(
        "output `{name}` has shape {found:?}, expected {expected:?}: give as many labels as the model has classes"
    )]
    OutputShape {
        /// The output's name.
        name: String,
        /// `[images, labels]`.
        expected: [usize; 2],
        /// The shape found.
        found: Vec<usize>,
    },
    /// A score that is no probability, of an output that is said to hold some.
    #[error(
        "output `{name}` has the value {value} for image {index} of the batch, but it is said to hold probabilities, 0 to 1: declare \
         `logits` if it holds those"
    )]
    NoProbability {
        /// The output's name.
        name: String,
        /// Place of the image in the batch, from 0.
        index: usize,
        /// The value.
        value: f32,
    },
    /// The scores hold NaN or an infinity.
    #[error(
        "output `{name}` has the value {value} for image {index} of the batch: the model's weights are unusable"
    )]
    OutputValue {
        /// The output's name.
        name: String,
        /// Place of the image in the batch, from 0.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A number among the options that has to be at least 1.
    #[error("the option `{option}` is 0: give at least 1, or leave it out")]
    Zero {
        /// Its name.
        option: &'static str,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The system refuses a thread.
    #[error(
        "cannot start a thread: {reason}: ask for fewer, or check the limits on processes and memory"
    )]
    Thread {
        /// What the system says.
        reason: std::io::Error,
    },
}

/// Golden vectors that cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The file has none.
    #[error(
        "the file has no golden vectors (metadata key `kiln.golden`): export it with kiln where the recipe's data set is \
         at hand, or compare its predictions with those of a file that is known to be right"
    )]
    NoVectors,
    /// A golden vector has more or fewer scores than the model has classes.
    #[error(
        "the golden vector of {image} has {found} scores, the model {classes} labels: give the file's own labels"
    )]
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
