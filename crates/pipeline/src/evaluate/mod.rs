//! Running a model over images: [`classify`] takes any, [`evaluate`](fn@evaluate) measures the
//! model on labeled ones. What is counted while images go by is a [`Tally`], which ends in
//! [`Evaluated`], written as an [`EvaluationRecord`]; of images that can have several classes a [`SeveralTally`].

mod any;
mod classify;
mod several;

use std::borrow::Cow;

use kiln_inference::{Classified, Model, StreamOptions, StreamSummary};
use kiln_metrics::{Evaluation, Evaluator};
use kiln_records::shown;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::inputs::{Input, Inputs, InputsError};
pub use crate::predictions::Mistake;
pub(crate) use crate::predictions::score_kind;
use crate::predictions::{FiguresOptions, OneTally, Row, Scoring};
use crate::runtime::RuntimeRecord;
pub use any::{AnyEvaluated, AnyRecord, AnyTally};
pub use classify::classify;
pub(crate) use classify::{SkippedImages, check_label, run_through};
pub use several::{SeveralEvaluated, SeveralRecord, SeveralTally};

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

impl Evaluated {
    /// Returns the number of images that went through the model, rather than having their
    /// predictions already.
    pub const fn computed(&self) -> u64 {
        self.summary.images
    }

    /// Returns what went through the model, and how fast.
    pub fn throughput(&self) -> Throughput {
        Throughput::of(&self.summary, self.resumed)
    }
}

/// What went through a model, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    batch_size: usize,
    /// Images of predictions that were there already, if any; no time is counted for them.
    #[serde(default, skip_serializing_if = "is_zero")]
    resumed: u64,
    /// Images that could not be read, if any.
    #[serde(default, skip_serializing_if = "is_zero")]
    skipped: u64,
    seconds: f64,
    /// With reading, decoding and preprocessing.
    pub images_per_second: f64,
    /// Of the graph alone: what its sessions reach together while they are at work.
    pub model_images_per_second: f64,
}

impl Throughput {
    /// Of images that went through a model, besides those that had their predictions already.
    pub fn of(summary: &StreamSummary, resumed: u64) -> Self {
        let images = summary.images as f64;
        let seconds = summary.elapsed.as_secs_f64();
        let in_model = summary.inference.as_secs_f64();
        let sessions = summary.sessions.max(1) as f64;
        Self {
            batch_size: summary.batch_size,
            resumed,
            skipped: summary.failed,
            seconds,
            images_per_second: images / seconds.max(f64::MIN_POSITIVE),
            model_images_per_second: images * sessions / in_model.max(f64::MIN_POSITIVE),
        }
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

/// An evaluation that has begun, in memory that does not grow with the images: what predictions
/// that are resumed hold is counted first.
pub struct Tally<'a> {
    model: &'a Model,
    batch_size: Option<usize>,
    figures: OneTally,
    resumed: u64,
}

impl<'a> Tally<'a> {
    /// Begins an evaluation with nothing counted.
    pub fn new(model: &'a Model, options: &EvaluateOptions) -> Result<Self> {
        let figures = FiguresOptions {
            top_k: options.top_k,
            mistakes: options.mistakes,
        };
        Ok(Self {
            model,
            batch_size: options.batch_size,
            figures: OneTally::new(model.labels(), &Scoring::of(model), &figures)?,
            resumed: 0,
        })
    }

    /// Counts an image of predictions that were there already, as it was counted at first.
    pub fn resume(&mut self, row: &Row<'_>) -> Result<()> {
        self.resumed += 1;
        self.figures.row(row)
    }

    /// Evaluates the images that are left, and shows each to `each`. Returns nothing if the work
    /// was cancelled.
    pub fn evaluate<E: From<Error>>(
        mut self,
        inputs: Inputs,
        context: &Context<'_>,
        mut each: impl FnMut(&Input, &Classified<'_>) -> Result<(), E>,
    ) -> Result<Option<Evaluated>, E> {
        let options = StreamOptions::default()
            .with_batch_size(self.batch_size)
            .with_warm_up(true);
        inputs.check_one_label()?;
        let model = self.model;
        let summary = classify(model, inputs, &options, context, |input, classified| {
            self.count(input, classified)?;
            each(input, classified)
        })?;
        Ok(match summary {
            Some(summary) => Some(self.finish(summary)?),
            None => None,
        })
    }

    fn finish(self, summary: StreamSummary) -> Result<Evaluated> {
        let (evaluation, mistakes, wrong) = self.figures.finish()?;
        Ok(Evaluated {
            evaluation,
            mistakes,
            wrong,
            runtime: RuntimeRecord::from(self.model),
            summary,
            resumed: self.resumed,
        })
    }

    fn count(&mut self, input: &Input, classified: &Classified<'_>) -> Result<()> {
        let index = input.index;
        let label = input.label.ok_or(InputsError::Unlabeled { index })?;
        let scores = measured(classified, self.model);
        self.figures.push(scores, label)?;
        let predicted = classified.predicted();
        if predicted != label as usize {
            let classes = self.model.labels();
            let names = [label as usize, predicted].map(|class| classes[class].as_str());
            let probability = classified.probabilities[predicted];
            self.figures
                .mistake(index, input.path().as_deref(), names, probability);
        }
        Ok(())
    }
}

/// The figures of an evaluation as they are written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EvaluationRecord<'a> {
    /// Dataset and subset, such as `mnist:test`.
    pub data: Cow<'a, str>,
    /// What it ran on.
    pub runtime: Cow<'a, RuntimeRecord>,
    /// Images, and how fast they went through the model.
    #[serde(flatten)]
    pub throughput: Throughput,
    /// Metrics.
    #[serde(flatten)]
    pub evaluation: Cow<'a, Evaluation>,
    /// The most confident errors.
    #[serde(default)]
    mistakes: Cow<'a, [Mistake]>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Evaluated {
    /// Returns the figures as they are written; `data` is what the images are called, of a URL without its query.
    pub fn record<'a>(&'a self, data: &'a str) -> EvaluationRecord<'a> {
        EvaluationRecord {
            data: shown(data).into(),
            runtime: Cow::Borrowed(&self.runtime),
            throughput: self.throughput(),
            evaluation: Cow::Borrowed(&self.evaluation),
            mistakes: Cow::Borrowed(&self.mistakes),
        }
    }
}

/// An evaluator for a model, which decides between two classes with one score by its threshold.
pub(crate) fn evaluator(model: &Model) -> Result<Evaluator> {
    Scoring::of(model).evaluator(model.labels())
}

/// What metrics are computed from: the scores, but the probabilities where each class has one by itself.
pub(crate) fn measured<'a>(classified: &Classified<'a>, model: &Model) -> &'a [f32] {
    if model.output_kind().is_independent() {
        classified.probabilities
    } else {
        classified.scores
    }
}
