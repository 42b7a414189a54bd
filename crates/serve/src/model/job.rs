//! What is asked of a model for one image, and what comes of it.

use std::time::Duration;

use bytes::Bytes;
use kiln_inference::Prediction;
use tokio::sync::oneshot;

/// One image for a model.
#[derive(Debug)]
pub enum Input {
    /// An image file, to be decoded and prepared by the model's preprocessing record.
    File {
        /// The file's content.
        bytes: Bytes,
        /// What messages call it.
        name: String,
        /// Whether the answer is to have the pixels that the model saw.
        keep_pixels: bool,
    },
    /// Prepared values, `[channels, height, width]`, all finite.
    Values(Vec<f32>),
}

/// What a model says of one image.
#[derive(Debug)]
pub struct Answer {
    /// Class, probabilities and scores.
    pub prediction: Prediction,
    /// Where the time went.
    pub timings: Timings,
    /// Number of images that the graph was run with.
    pub batch: usize,
    /// The pixels that the model saw, `[channels, height, width]`, values of 0 to 255, where they were asked for.
    pub pixels: Option<Vec<f32>>,
}

/// Where the time of an image went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timings {
    /// Waiting for a worker.
    pub queue: Duration,
    /// Decoding and preprocessing.
    pub prepare: Duration,
    /// The graph, for the whole batch: what the image waited for.
    pub inference: Duration,
}

/// Why an image has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The image is at fault.
    #[error("{0}")]
    Image(String),
    /// The model is: the engine failed, or its scores are not finite.
    #[error("{0}")]
    Model(String),
}

impl Failure {
    /// The failure of what panicked.
    pub fn unexpected() -> Self {
        Self::Model("the model failed unexpectedly".into())
    }
}

/// Sends what came of an image to whoever waits for it.
pub type Respond = oneshot::Sender<Result<Answer, Failure>>;

/// An image in the queue.
#[derive(Debug)]
pub struct Job {
    /// The image.
    pub input: Input,
    /// Who waits for the answer.
    pub respond: Respond,
}
