//! Running a model over images: [`classify`] takes any, [`evaluate`](fn@evaluate) measures the
//! model on labeled ones. What is counted while images go by is a [`Tally`], which ends in
//! [`Evaluated`], written as an [`EvaluationRecord`].

mod classify;

use std::borrow::Cow;

use kiln_inference::{Classified, Model, OutputKind, StreamOptions, StreamSummary};
use kiln_metrics::{Evaluation, Evaluator, MostConfident, ScoreKind, argmax};
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::inputs::{Input, Inputs, InputsError};
use crate::predictions::{PredictionsError, Row};
use crate::runtime::RuntimeRecord;
pub use classify::classify;
pub(crate) use classify::{SkippedImages, check_label, run_through};

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

/// An evaluation that has begun, in memory that does not grow with the images: what predictions
/// that are resumed hold is counted first.
pub struct Tally<'a> {
    model: &'a Model,
    batch_size: Option<usize>,
    evaluator: Evaluator,
    mistakes: MostConfident<Mistake>,
    resumed: u64,
}

impl<'a> Tally<'a> {
    /// Begins an evaluation with nothing counted.
    pub fn new(model: &'a Model, options: &EvaluateOptions) -> Result<Self> {
        let mut evaluator = Evaluator::new(model.labels().to_vec())?;
        if let Some(k) = options.top_k {
            evaluator = evaluator.with_top_k(k);
        }
        Ok(Self {
            model,
            batch_size: options.batch_size,
            evaluator,
            mistakes: MostConfident::new(options.mistakes),
            resumed: 0,
        })
    }

    /// Counts an image of predictions that were there already, as it was counted at first.
    pub fn resume(&mut self, row: &Row<'_>) -> Result<()> {
        let name = row.label.as_deref().unwrap_or_default();
        let classes = self.model.labels();
        let Some(label) = classes.iter().position(|class| class == name) else {
            return Err(PredictionsError::Label {
                index: row.index,
                label: name.into(),
            }
            .into());
        };
        if row.logits.is_empty() {
            self.evaluator
                .push_probabilities(&row.probabilities, &[label as u32])?;
        } else {
            self.evaluator.push(&row.logits, &[label as u32])?;
        }
        self.resumed += 1;
        self.mistake(
            row.index,
            row.path.as_deref(),
            [name, &row.predicted],
            row.probability,
        );
        Ok(())
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
        let wrong = self.mistakes.seen();
        Ok(Evaluated {
            evaluation: self.evaluator.finish()?,
            mistakes: self.mistakes.into_sorted(),
            wrong,
            runtime: RuntimeRecord::from(self.model.runtime()),
            summary,
            resumed: self.resumed,
        })
    }

    fn count(&mut self, input: &Input, classified: &Classified<'_>) -> Result<()> {
        let index = input.index;
        let label = input.label.ok_or(InputsError::Unlabeled { index })?;
        let scores = classified.scores;
        self.evaluator
            .push_scores(scores, &[label], score_kind(self.model))?;
        let predicted = argmax(scores).expect("the model gives finite scores");
        if predicted != label as usize {
            let classes = self.model.labels();
            let names = [label as usize, predicted].map(|class| classes[class].as_str());
            let probability = classified.probabilities[predicted];
            self.mistake(index, input.path().as_deref(), names, probability);
        }
        Ok(())
    }

    fn mistake(
        &mut self,
        index: u64,
        path: Option<&str>,
        [label, predicted]: [&str; 2],
        probability: f32,
    ) {
        if label != predicted {
            self.mistakes.push(probability, || Mistake {
                index,
                path: path.map(str::to_owned),
                label: label.to_owned(),
                predicted: predicted.to_owned(),
                probability,
            });
        }
    }
}

/// The figures of an evaluation as they are written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EvaluationRecord<'a> {
    /// Dataset and subset, such as `mnist:test`.
    pub data: Cow<'a, str>,
    /// What it ran on.
    pub runtime: Cow<'a, RuntimeRecord>,
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
    model_images_per_second: f64,
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
/// What a model's scores are to the metrics.
pub(crate) fn score_kind(model: &Model) -> ScoreKind {
    match model.output_kind() {
        OutputKind::Logits | OutputKind::LogProbabilities => ScoreKind::Logits,
        OutputKind::Probabilities if model.spec().scores.is_quantized => {
            ScoreKind::RoundedProbabilities
        }
        OutputKind::Probabilities => ScoreKind::Probabilities,
        OutputKind::Sigmoid => ScoreKind::Independent,
    }
}
