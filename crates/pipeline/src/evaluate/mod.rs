//! Running a model over images: [`classify`] takes any, [`evaluate`](fn@evaluate) measures the
//! model on labeled ones.

mod classify;
mod record;
mod skipped;
mod tally;

use kiln_inference::{Classified, Model, StreamSummary};
use kiln_metrics::Evaluation;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::error::Error;
use crate::inputs::{Input, Inputs};
use crate::runtime::RuntimeRecord;

pub(crate) use classify::check_label;
pub use classify::classify;
pub use record::EvaluationRecord;
pub(crate) use skipped::SkippedImages;
pub use tally::Tally;

/// How a model is evaluated.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct EvaluateOptions {
    /// Images per batch; 64, or fewer of large images, if not given.
    pub batch_size: Option<usize>,
    /// Measures accuracy among this many most probable classes too.
    pub top_k: Option<usize>,
    /// Number of most confident errors to keep.
    pub mistakes: usize,
}

/// What a model achieved on labeled images.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Evaluated {
    /// Metrics.
    pub evaluation: Evaluation,
    /// The most confident errors.
    pub mistakes: Vec<Mistake>,
    /// Number of all errors.
    pub wrong: u64,
    /// What it ran on.
    pub runtime: RuntimeRecord,
    /// What went through the model, and where the time went.
    pub summary: StreamSummary,
    /// Number of images that had their predictions already.
    pub resumed: u64,
}

/// An image whose predicted class is not its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// Place of the image among all images of the source, from 0.
    pub index: u64,
    /// The path of its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its class.
    pub label: String,
    /// The predicted class.
    pub predicted: String,
    /// The probability of the predicted class, 0 to 1.
    pub probability: f32,
}

impl Evaluated {
    /// Returns the number of images that went through the model, rather than having their
    /// predictions already.
    pub const fn computed(&self) -> u64 {
        self.summary.images
    }

    /// Returns images per second, with reading, decoding and preprocessing.
    pub fn images_per_second(&self) -> f64 {
        self.summary.images as f64 / self.summary.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Returns images per second of the graph alone: what its sessions reach together while they
    /// are at work.
    pub fn model_images_per_second(&self) -> f64 {
        let sessions = self.summary.sessions.max(1) as f64;
        self.summary.images as f64 * sessions
            / self.summary.inference.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// Evaluates a model on labeled images, and shows each to `each`. Returns nothing if the work was
/// cancelled.
///
/// To go on from predictions that were written before, use a [`Tally`].
pub fn evaluate<E: From<Error>>(
    model: &Model,
    inputs: Inputs,
    options: &EvaluateOptions,
    context: &Context<'_>,
    each: impl FnMut(&Input, &Classified<'_>) -> Result<(), E>,
) -> Result<Option<Evaluated>, E> {
    Tally::new(model, options)?.evaluate(inputs, context, each)
}
