//! Running a model over labelled images.

use std::borrow::Cow;

use kiln_inference::{Classified, Model, OutputKind, StreamOptions, StreamSummary};
use kiln_metrics::{Evaluation, Evaluator, MostConfident, argmax};
use serde::{Deserialize, Serialize};

use super::super::Context;
use crate::batch::{self, Ended};
use crate::inputs::{Input, Inputs};
use crate::predictions::Row;
use crate::receipt::ReceiptRecord;

/// What a model made of a data set.
pub struct Measured {
    /// Metrics.
    pub evaluation: Evaluation,
    /// The images that it was surest about and got wrong.
    pub mistakes: Vec<Mistake>,
    /// How many are wrong in all.
    pub wrong: u64,
    receipt: ReceiptRecord,
    summary: StreamSummary,
    resumed: u64,
}

/// An image that was taken for another class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// Place of the image among all images of the source, from 0.
    pub index: u64,
    /// The path of its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its class.
    pub label: String,
    /// The class it was taken for.
    pub predicted: String,
    /// How sure the model was, 0 to 1.
    pub probability: f32,
}

/// The figures as they are written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MeasuredRecord<'a> {
    /// Data set and subset, such as `mnist:test`.
    pub data: Cow<'a, str>,
    /// What it ran on.
    pub runtime: Cow<'a, ReceiptRecord>,
    batch_size: usize,
    /// Images of predictions that were there already, if any; no time is counted for them.
    #[serde(default, skip_serializing_if = "is_zero")]
    resumed: u64,
    /// Images that could not be read, if any.
    #[serde(default, skip_serializing_if = "is_zero")]
    skipped: u64,
    seconds: f64,
    /// Reading, decoding and preprocessing included.
    pub images_per_second: f64,
    model_images_per_second: f64,
    /// Metrics.
    #[serde(flatten)]
    pub evaluation: Cow<'a, Evaluation>,
    /// The images that the model was surest about and got wrong.
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

impl Measured {
    /// How many images went through the model, rather than having their predictions already.
    pub fn computed(&self) -> u64 {
        self.summary.images
    }

    /// Reading, decoding and preprocessing included.
    pub fn images_per_second(&self) -> f64 {
        self.summary.images as f64 / self.summary.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The graph only: what its sessions reach together while they are at work.
    pub fn model_images_per_second(&self) -> f64 {
        let sessions = self.summary.sessions.max(1) as f64;
        self.summary.images as f64 * sessions
            / self.summary.inference.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// For JSON.
    pub fn record<'a>(&'a self, data: &'a str) -> MeasuredRecord<'a> {
        MeasuredRecord {
            data: data.into(),
            runtime: Cow::Borrowed(&self.receipt),
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

/// What is counted while images go by, in memory that does not grow with them.
pub struct Tally<'a> {
    classes: &'a [String],
    evaluator: Evaluator,
    mistakes: MostConfident<Mistake>,
    resumed: u64,
}

impl<'a> Tally<'a> {
    /// Nothing counted yet; keeps so many mistakes.
    pub fn new(classes: &'a [String], top_k: Option<u16>, mistakes: u16) -> anyhow::Result<Self> {
        let mut evaluator = Evaluator::new(classes.to_vec())?;
        if let Some(k) = top_k {
            evaluator = evaluator.with_top_k(k.into());
        }
        Ok(Self {
            classes,
            evaluator,
            mistakes: MostConfident::new(mistakes.into()),
            resumed: 0,
        })
    }

    /// Counts an image of predictions that were there already, as it was counted at first.
    pub fn resume(&mut self, row: &Row<'_>) -> anyhow::Result<()> {
        let name = row.label.as_deref().unwrap_or_default();
        let Some(label) = self.classes.iter().position(|class| class == name) else {
            anyhow::bail!(
                "the predictions to resume have the label `{name}` in the line of image {}, which the model does not \
                 have: leave out --resume to start over",
                row.index
            )
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
            name,
            &row.predicted,
            row.probability,
        );
        Ok(())
    }

    fn count(
        &mut self,
        input: &Input,
        classified: &Classified<'_>,
        kind: OutputKind,
    ) -> anyhow::Result<()> {
        let Some(label) = input.label else {
            anyhow::bail!("image {} has no label", input.index)
        };
        match kind {
            OutputKind::Logits => self.evaluator.push(classified.scores, &[label])?,
            OutputKind::Probabilities => self
                .evaluator
                .push_probabilities(classified.scores, &[label])?,
        }
        let predicted = argmax(classified.scores).expect("the model gives finite scores");
        let classes = self.classes;
        if predicted != label as usize {
            let names = [label as usize, predicted].map(|class| classes[class].as_str());
            let probability = classified.probabilities[predicted];
            self.mistake(
                input.index,
                input.path().as_deref(),
                names[0],
                names[1],
                probability,
            );
        }
        Ok(())
    }

    fn mistake(
        &mut self,
        index: u64,
        path: Option<&str>,
        label: &str,
        predicted: &str,
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

/// Runs the model over all images, counts them, and shows each to `each`; nothing if the user
/// stopped it.
pub fn measure(
    model: &Model,
    inputs: Inputs,
    batch_size: Option<usize>,
    mut tally: Tally<'_>,
    context: &Context<'_>,
    mut each: impl FnMut(&Input, &Classified<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<Option<Measured>> {
    let options = StreamOptions::default()
        .with_batch_size(batch_size)
        .with_warm_up(true);
    let kind = model.output_kind();
    let ended = batch::run(model, inputs, &options, context, |input, classified| {
        tally.count(input, classified, kind)?;
        each(input, classified)
    })?;
    let Ended::Done(summary) = ended else {
        return Ok(None);
    };
    let wrong = tally.mistakes.seen();
    Ok(Some(Measured {
        evaluation: tally.evaluator.finish()?,
        mistakes: tally.mistakes.into_sorted(),
        wrong,
        receipt: ReceiptRecord::from(model.runtime()),
        summary,
        resumed: tally.resumed,
    }))
}
