//! Running a model over a data set.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_data::{Loader, Order, Samples, View};
use kiln_eval::{Evaluation, Evaluator};
use kiln_inference::{Model, OutputKind, Preprocessor};
use serde::{Deserialize, Serialize};

use super::super::Context;
use crate::interrupt::{self, Polling};
use crate::receipt::ReceiptRecord;

/// What a model made of a data set.
pub struct Measured {
    /// Metrics.
    pub evaluation: Evaluation,
    /// What the graph gave, `[images, classes]` row-major.
    pub scores: Vec<f32>,
    /// Probabilities, laid out likewise.
    pub probabilities: Vec<f32>,
    receipt: ReceiptRecord,
    batch_size: usize,
    seconds: f64,
    model_seconds: f64,
}

/// The figures as they are written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MeasuredRecord<'a> {
    /// Data set and subset, such as `mnist:test`.
    pub data: Cow<'a, str>,
    /// What it ran on.
    pub runtime: Cow<'a, ReceiptRecord>,
    batch_size: usize,
    seconds: f64,
    /// Preprocessing included.
    pub images_per_second: f64,
    model_images_per_second: f64,
    /// Metrics.
    #[serde(flatten)]
    pub evaluation: Cow<'a, Evaluation>,
}

impl Measured {
    /// Preprocessing included; not so the decoding of files that were read and kept before.
    pub fn images_per_second(&self) -> f64 {
        self.evaluation.images as f64 / self.seconds
    }

    /// The graph only.
    pub fn model_images_per_second(&self) -> f64 {
        self.evaluation.images as f64 / self.model_seconds
    }

    /// For JSON.
    pub fn record<'a>(&'a self, data: &'a str) -> MeasuredRecord<'a> {
        MeasuredRecord {
            data: data.into(),
            runtime: Cow::Borrowed(&self.receipt),
            batch_size: self.batch_size,
            seconds: self.seconds,
            images_per_second: self.images_per_second(),
            model_images_per_second: self.model_images_per_second(),
            evaluation: Cow::Borrowed(&self.evaluation),
        }
    }
}

/// Runs the model over all images; nothing if the user stopped it.
///
/// The first batch is run once before the clock starts: engines plan and allocate at their first run.
pub fn measure(
    model: &Model,
    view: &View,
    batch_size: usize,
    context: &Context<'_>,
) -> anyhow::Result<Option<Measured>> {
    let mut evaluator = Evaluator::new(model.labels().to_vec())?;
    let preprocessor = Arc::new(Preprocessor::new(model.preprocessing().clone())?);
    let loader = Loader::new(Samples::images(view.clone(), preprocessor), batch_size, Order::Sequential)?;
    if let Some(first) = loader.iter().next() {
        let first = first?;
        model.run(&first.values, first.labels.len())?;
    }
    let (mut scores, mut probabilities) = (Vec::new(), Vec::new());
    let mut model_time = Duration::ZERO;
    let bar = context.terminal.bar(
        view.len() as u64,
        &format!(
            "  Evaluating {} {{bar:24.green}} {{human_pos:>7}}/{{human_len}} {{per_sec:>12}} {{eta:>4}} left",
            model.receipt().engine
        ),
    );
    let _polling = Polling::begin();
    let start = Instant::now();
    for batch in &loader {
        if interrupt::requested() {
            bar.finish_and_clear();
            return Ok(None);
        }
        let batch = batch?;
        let output = model.run(&batch.values, batch.labels.len())?;
        model_time += output.inference;
        match output.kind {
            OutputKind::Logits => evaluator.push(&output.data, &batch.labels)?,
            OutputKind::Probabilities => evaluator.push_probabilities(&output.data, &batch.labels)?,
        }
        probabilities.extend(output.probabilities());
        scores.extend(output.data);
        bar.inc(batch.labels.len() as u64);
    }
    let seconds = start.elapsed().as_secs_f64();
    bar.finish_and_clear();
    Ok(Some(Measured {
        evaluation: evaluator.finish()?,
        scores,
        probabilities,
        receipt: ReceiptRecord::from(model.receipt()),
        batch_size,
        seconds,
        model_seconds: model_time.as_secs_f64(),
    }))
}
