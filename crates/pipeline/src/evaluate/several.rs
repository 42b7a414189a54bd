//! A model whose images can have several classes, on images with all of theirs.

use std::borrow::Cow;

use kiln_inference::{Classified, Model, StreamOptions, StreamSummary};
use kiln_metrics::{SeveralEvaluation, SeveralEvaluator};
use kiln_records::shown;
use serde::{Deserialize, Serialize};

use super::{Throughput, classify};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::inputs::{Input, Inputs, InputsError};
use crate::predictions::{Row, several_row};
use crate::runtime::RuntimeRecord;

/// What a model achieved on images that have any number of classes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SeveralEvaluated {
    /// Metrics.
    pub evaluation: SeveralEvaluation,
    /// What it ran on.
    pub runtime: RuntimeRecord,
    /// What went through the model, and where the time went.
    pub summary: StreamSummary,
    /// Number of images that had their predictions already.
    pub resumed: u64,
}

/// An evaluation on images with any number of classes, which has begun: what predictions that are resumed hold
/// is counted first.
pub struct SeveralTally<'a> {
    model: &'a Model,
    batch_size: Option<usize>,
    evaluator: SeveralEvaluator,
    resumed: u64,
}

impl<'a> SeveralTally<'a> {
    /// Begins an evaluation with nothing counted.
    ///
    /// # Errors
    ///
    /// [`InputsError::SeveralLabels`] if the classes of the model exclude each other.
    pub fn new(model: &'a Model, batch_size: Option<usize>, inputs: &Inputs) -> Result<Self> {
        let spec = model.spec();
        if !spec.has_several() {
            let source_name = inputs.source.to_string();
            return Err(InputsError::SeveralLabels { source_name }.into());
        }
        Ok(Self {
            model,
            batch_size,
            evaluator: SeveralEvaluator::new(model.labels().to_vec(), spec.thresholds.clone())?,
            resumed: 0,
        })
    }

    /// Counts an image of predictions that were there already, as it was counted at first.
    pub fn resume(&mut self, row: &Row<'_>) -> Result<()> {
        self.resumed += 1;
        several_row(&mut self.evaluator, self.model.labels(), row)
    }

    /// Evaluates the images that are left, and shows each to `each`. Returns nothing if the work was
    /// cancelled.
    pub fn evaluate<E: From<Error>>(
        mut self,
        inputs: Inputs,
        context: &Context<'_>,
        mut each: impl FnMut(&Input, &Classified<'_>) -> Result<(), E>,
    ) -> Result<Option<SeveralEvaluated>, E> {
        let options = StreamOptions::default()
            .with_batch_size(self.batch_size)
            .with_warm_up(true);
        let summary = classify(
            self.model,
            inputs,
            &options,
            context,
            |input, classified| {
                let index = input.index;
                let labels = input.labels.as_deref();
                let labels = labels.ok_or(Error::from(InputsError::Unlabeled { index }))?;
                let pushed = self.evaluator.push(classified.probabilities, labels);
                pushed.map_err(Error::from)?;
                each(input, classified)
            },
        )?;
        let Some(summary) = summary else {
            return Ok(None);
        };
        Ok(Some(SeveralEvaluated {
            evaluation: self.evaluator.finish().map_err(Error::from)?,
            runtime: RuntimeRecord::from(self.model),
            summary,
            resumed: self.resumed,
        }))
    }
}

/// The figures of an evaluation on images with any number of classes, as they are written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SeveralRecord<'a> {
    /// What the images are called.
    pub data: Cow<'a, str>,
    /// What it ran on.
    pub runtime: Cow<'a, RuntimeRecord>,
    /// Images, and how fast they went through the model.
    #[serde(flatten)]
    pub throughput: Throughput,
    /// Metrics.
    #[serde(flatten)]
    pub evaluation: Cow<'a, SeveralEvaluation>,
}

impl SeveralEvaluated {
    /// Returns what went through the model, and how fast.
    pub fn throughput(&self) -> Throughput {
        Throughput::of(&self.summary, self.resumed)
    }

    /// Returns the figures as they are written; `data` is what the images are called, of a URL without its query.
    pub fn record<'a>(&'a self, data: &'a str) -> SeveralRecord<'a> {
        SeveralRecord {
            data: shown(data).into(),
            runtime: Cow::Borrowed(&self.runtime),
            throughput: self.throughput(),
            evaluation: Cow::Borrowed(&self.evaluation),
        }
    }
}
