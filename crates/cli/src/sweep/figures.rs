//! What is compared.

use std::cmp::Ordering;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::record::RunRecord;

/// The figures of a complete run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// Of all layers.
    pub parameters: usize,
    /// Epochs trained.
    pub epochs: usize,
    /// The epoch whose weights were kept.
    pub best_epoch: usize,
    /// After that epoch, 0 to 1.
    pub val_accuracy: f64,
    /// After that epoch, in nats.
    pub val_loss: f64,
    /// Of the exported file, 0 to 1.
    pub test_accuracy: f64,
    /// Of the exported file, in nats.
    pub test_loss: f64,
    /// How long the epochs took.
    pub seconds: f64,
}

impl Figures {
    /// Of a run; nothing if it is not complete.
    pub fn of(record: &RunRecord) -> Option<Self> {
        let (best, evaluation) = (
            record.history.best()?,
            &record.evaluations.first()?.evaluation,
        );
        record.is_complete().then_some(())?;
        Some(Self {
            parameters: record.recipe.model().counts().total(),
            epochs: record.history.epochs.len(),
            best_epoch: best.epoch,
            val_accuracy: best.val_accuracy,
            val_loss: best.val_loss,
            test_accuracy: evaluation.accuracy,
            test_loss: evaluation.loss,
            seconds: record.seconds(),
        })
    }
}

/// What a table can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[value(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    ValAccuracy,
    ValLoss,
    TestAccuracy,
    TestLoss,
    Parameters,
    Seconds,
}

impl Metric {
    /// The metric's value.
    pub fn of(self, figures: &Figures) -> f64 {
        match self {
            Self::ValAccuracy => figures.val_accuracy,
            Self::ValLoss => figures.val_loss,
            Self::TestAccuracy => figures.test_accuracy,
            Self::TestLoss => figures.test_loss,
            Self::Parameters => figures.parameters as f64,
            Self::Seconds => figures.seconds,
        }
    }

    /// For people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::ValAccuracy => "validation accuracy",
            Self::ValLoss => "validation loss",
            Self::TestAccuracy => "test accuracy",
            Self::TestLoss => "test loss",
            Self::Parameters => "parameters",
            Self::Seconds => "training time",
        }
    }

    /// The order of two runs: the better first, then those without figures.
    pub fn best_first(self, a: Option<&Figures>, b: Option<&Figures>) -> Ordering {
        self.order(
            a.map(|figures| self.of(figures)),
            b.map(|figures| self.of(figures)),
        )
    }

    /// The order of two of its values likewise.
    pub fn order(self, a: Option<f64>, b: Option<f64>) -> Ordering {
        match (a, b) {
            (Some(a), Some(b)) if matches!(self, Self::ValAccuracy | Self::TestAccuracy) => {
                b.total_cmp(&a)
            }
            (Some(a), Some(b)) => a.total_cmp(&b),
            (a, b) => a.is_none().cmp(&b.is_none()),
        }
    }
}
