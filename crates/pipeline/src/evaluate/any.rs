//! An evaluation on images with one class each, or with any number.

use kiln_inference::{Classified, Model};
use kiln_util::percent;
use serde::{Deserialize, Serialize};

use super::{
    EvaluateOptions, Evaluated, EvaluationRecord, SeveralEvaluated, SeveralRecord, SeveralTally,
    Tally,
};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::inputs::{Input, Inputs};
use crate::predictions::Row;
use crate::runtime::RuntimeRecord;

/// An evaluation that has begun, as the images' labels ask for it.
pub enum AnyTally<'a> {
    /// Of images with one class each.
    One(Box<Tally<'a>>),
    /// Of images with any number of classes.
    Several(SeveralTally<'a>),
}

/// What a model achieved on labeled images.
#[derive(Debug, Clone)]
pub enum AnyEvaluated {
    /// On images with one class each.
    One(Evaluated),
    /// On images with any number of classes.
    Several(SeveralEvaluated),
}

impl<'a> AnyTally<'a> {
    /// Begins an evaluation of these images with nothing counted. Of images that can have several classes, there are
    /// no most confident errors and no top `k`.
    ///
    /// # Errors
    ///
    /// As [`SeveralTally::new`].
    pub fn new(model: &'a Model, options: &EvaluateOptions, inputs: &Inputs) -> Result<Self> {
        Ok(if inputs.has_several {
            Self::Several(SeveralTally::new(model, options.batch_size, inputs)?)
        } else {
            Self::One(Box::new(Tally::new(model, options)?))
        })
    }

    /// Counts an image of predictions that were there already, as it was counted at first.
    pub fn resume(&mut self, row: &Row<'_>) -> Result<()> {
        match self {
            Self::One(tally) => tally.resume(row),
            Self::Several(tally) => tally.resume(row),
        }
    }

    /// Evaluates the images that are left, and shows each to `each`. Returns nothing if the work was cancelled.
    pub fn evaluate<E: From<Error>>(
        self,
        inputs: Inputs,
        context: &Context<'_>,
        each: impl FnMut(&Input, &Classified<'_>) -> Result<(), E>,
    ) -> Result<Option<AnyEvaluated>, E> {
        Ok(match self {
            Self::One(tally) => {
                let evaluated = tally.evaluate(inputs, context, each)?;
                evaluated.map(AnyEvaluated::One)
            }
            Self::Several(tally) => {
                let evaluated = tally.evaluate(inputs, context, each)?;
                evaluated.map(AnyEvaluated::Several)
            }
        })
    }
}

impl AnyEvaluated {
    /// Returns the number of images.
    pub const fn images(&self) -> u64 {
        match self {
            Self::One(one) => one.evaluation.images,
            Self::Several(several) => several.evaluation.images,
        }
    }

    /// Returns the number of images that could not be read, of those that had no predictions already.
    pub const fn skipped(&self) -> u64 {
        match self {
            Self::One(one) => one.summary.failed,
            Self::Several(several) => several.summary.failed,
        }
    }

    /// Returns the figures as they are written; `data` is what the images are called.
    pub fn record<'a>(&'a self, data: &'a str) -> AnyRecord<'a> {
        match self {
            Self::One(one) => AnyRecord::One(one.record(data)),
            Self::Several(several) => AnyRecord::Several(several.record(data)),
        }
    }
}

/// The figures of an evaluation as they are written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AnyRecord<'a> {
    /// On images with one class each.
    One(EvaluationRecord<'a>),
    /// On images with any number of classes.
    Several(SeveralRecord<'a>),
}

impl AnyRecord<'_> {
    /// Returns what it ran on.
    pub fn runtime(&self) -> &RuntimeRecord {
        match self {
            Self::One(one) => &one.runtime,
            Self::Several(several) => &several.runtime,
        }
    }

    /// Returns the number of images.
    pub fn images(&self) -> u64 {
        match self {
            Self::One(one) => one.evaluation.images,
            Self::Several(several) => several.evaluation.images,
        }
    }

    /// Returns images per second, with reading, decoding and preprocessing.
    pub fn images_per_second(&self) -> f64 {
        match self {
            Self::One(one) => one.throughput.images_per_second,
            Self::Several(several) => several.throughput.images_per_second,
        }
    }

    /// Returns the share of images classified correctly, 0 to 1; where they can have several classes, of the decisions
    /// about each that are right.
    pub fn accuracy(&self) -> f64 {
        match self {
            Self::One(one) => one.evaluation.accuracy,
            Self::Several(several) => 1.0 - several.evaluation.hamming_loss,
        }
    }

    /// Returns the mean loss in nats: of an image, or of a decision.
    pub fn loss(&self) -> f64 {
        match self {
            Self::One(one) => one.evaluation.loss,
            Self::Several(several) => several.evaluation.loss,
        }
    }

    /// Returns the mean F1 of the classes, 0 to 1.
    pub fn macro_f1(&self) -> f64 {
        match self {
            Self::One(one) => one.evaluation.macro_average.f1,
            Self::Several(several) => several.evaluation.macro_average.f1,
        }
    }

    /// Returns the mean of the classes' average precisions, 0 to 1, where an image can have several classes.
    pub fn mean_average_precision(&self) -> Option<f64> {
        match self {
            Self::One(_) => None,
            Self::Several(several) => several.evaluation.mean_average_precision,
        }
    }

    /// Returns the expected calibration error, 0 to 1, where each image has one class.
    pub fn calibration_error(&self) -> Option<f64> {
        match self {
            Self::One(one) => one.evaluation.calibration.as_ref().map(|it| it.ece),
            Self::Several(_) => None,
        }
    }

    /// Returns the figure that stands for all, for people: its name and its value.
    pub fn headline(&self) -> (&'static str, String) {
        match self.mean_average_precision() {
            Some(precision) => ("mean average precision", percent(precision)),
            None => ("accuracy", percent(self.accuracy())),
        }
    }
}
