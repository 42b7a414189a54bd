//! An evaluation as it is written.

use std::borrow::Cow;

use kiln_metrics::Evaluation;
use serde::{Deserialize, Serialize};

use super::{Evaluated, Mistake};
use crate::runtime::RuntimeRecord;

/// The figures of an evaluation as they are written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EvaluationRecord<'a> {
    /// Dataset and subset, such as `mnist:test`.
    pub data: Cow<'a, str>,
    /// What it ran on.
    pub runtime: Cow<'a, RuntimeRecord>,
    pub(super) batch_size: usize,
    /// Images of predictions that were there already, if any; no time is counted for them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) resumed: u64,
    /// Images that could not be read, if any.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) skipped: u64,
    pub(super) seconds: f64,
    /// With reading, decoding and preprocessing.
    pub images_per_second: f64,
    pub(super) model_images_per_second: f64,
    /// Metrics.
    #[serde(flatten)]
    pub evaluation: Cow<'a, Evaluation>,
    /// The most confident errors.
    #[serde(default)]
    pub(super) mistakes: Cow<'a, [Mistake]>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Evaluated {
    /// Returns the figures as they are written; `data` is what the images are called.
    pub fn record<'a>(&'a self, data: &'a str) -> EvaluationRecord<'a> {
        EvaluationRecord {
            data: data.into(),
            runtime: Cow::Borrowed(&self.runtime),
            batch_size: self.summary.batch_size,
            resumed: self.resumed,
            skipped: self.summary.failed,
            seconds: self.summary.elapsed.as_secs_f64(),
            images_per_second: self.images_per_second(),
            model_images_per_second: self.model_images_per_second(),
            evaluation: Cow::Borrowed(&self.evaluation),
            mistakes: Cow::Borrowed(&self.mistakes),
        }
    }
}
