//! The figures that a sweep compares, by run and by group of seeds.

use std::cmp::Ordering;

use kiln_metrics::Spread;
use kiln_model::Setting;
use kiln_util::str_enum;
use serde::{Deserialize, Serialize};

use super::results::{Results, Row};
use crate::run_record::RunRecord;

/// The figures of a complete run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// Number of parameters of all layers.
    pub parameters: usize,
    /// Number of epochs trained.
    pub epochs: usize,
    /// The epoch whose weights were kept.
    pub best_epoch: usize,
    /// Validation accuracy after that epoch, 0 to 1; where an image can have several classes, of the decisions about
    /// each, as the test accuracy.
    pub val_accuracy: f64,
    /// Validation loss after that epoch, in nats.
    pub val_loss: f64,
    /// Test accuracy of the exported file, 0 to 1.
    pub test_accuracy: f64,
    /// Test loss of the exported file, in nats.
    pub test_loss: f64,
    /// Time that the epochs took.
    pub seconds: f64,
}

impl Figures {
    /// Returns the figures of a run, or `None` if it is not complete.
    pub fn of(record: &RunRecord) -> Option<Self> {
        let (best, evaluation) = (record.history.best()?, record.evaluations.first()?);
        record.is_complete().then_some(())?;
        Some(Self {
            parameters: record.recipe.model().counts().total(),
            epochs: record.history.epochs.len(),
            best_epoch: best.epoch,
            val_accuracy: best.val_accuracy,
            val_loss: best.val_loss,
            test_accuracy: evaluation.accuracy(),
            test_loss: evaluation.loss(),
            seconds: record.seconds(),
        })
    }
}

/// A figure by which runs are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Accuracy on the validation images after the best epoch.
    ValAccuracy,
    /// Loss on the validation images after the best epoch.
    ValLoss,
    /// Accuracy of the exported file on the test images.
    TestAccuracy,
    /// Loss of the exported file on the test images.
    TestLoss,
    /// Number of parameters of all layers.
    Parameters,
    /// Training time.
    Seconds,
}

str_enum!(Metric {
    ValAccuracy = "val_accuracy",
    ValLoss = "val_loss",
    TestAccuracy = "test_accuracy",
    TestLoss = "test_loss",
    Parameters = "parameters",
    Seconds = "seconds",
});

impl Metric {
    /// Returns the metric's value.
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

    /// The metric's name for people.
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

    /// Orders two runs: the better first, those without figures last.
    pub fn best_first(self, a: Option<&Figures>, b: Option<&Figures>) -> Ordering {
        self.order(
            a.map(|figures| self.of(figures)),
            b.map(|figures| self.of(figures)),
        )
    }

    /// Orders two values of the metric likewise.
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

/// Runs with the same values of everything but the seed.
#[derive(Debug, Serialize)]
pub struct Group<'a> {
    /// The settings other than the seed, for people.
    pub label: String,
    /// The settings other than the seed.
    #[serde(skip)]
    pub settings: Vec<&'a Setting>,
    /// The runs.
    #[serde(skip)]
    pub rows: Vec<&'a Row>,
    /// Spread of `val_accuracy`; `None` if no run is complete.
    pub val_accuracy: Option<Spread>,
    /// Spread of `val_loss`; `None` if no run is complete.
    pub val_loss: Option<Spread>,
    /// Spread of `test_accuracy`; `None` if no run is complete.
    pub test_accuracy: Option<Spread>,
    /// Spread of `test_loss`; `None` if no run is complete.
    pub test_loss: Option<Spread>,
    /// Spread of `parameters`; `None` if no run is complete.
    pub parameters: Option<Spread>,
    /// Spread of `seconds`; `None` if no run is complete.
    pub seconds: Option<Spread>,
}

impl Group<'_> {
    /// Returns the figures of the complete runs.
    pub fn figures(&self) -> Vec<Figures> {
        self.rows.iter().filter_map(|row| row.figures).collect()
    }

    /// Returns mean and spread of a metric, or `None` if no run is complete.
    pub const fn spread(&self, metric: Metric) -> Option<Spread> {
        match metric {
            Metric::ValAccuracy => self.val_accuracy,
            Metric::ValLoss => self.val_loss,
            Metric::TestAccuracy => self.test_accuracy,
            Metric::TestLoss => self.test_loss,
            Metric::Parameters => self.parameters,
            Metric::Seconds => self.seconds,
        }
    }
}

/// Groups runs that differ only in the seed, in the recipe's order.
pub fn groups(results: &Results) -> Vec<Group<'_>> {
    let mut groups: Vec<(Vec<&Setting>, Vec<&Row>)> = Vec::new();
    for row in &results.rows {
        let settings: Vec<&Setting> = row
            .entry
            .settings
            .iter()
            .filter(|setting| !setting.is_seed())
            .collect();
        match groups.iter_mut().find(|(others, _)| *others == settings) {
            Some((_, rows)) => rows.push(row),
            None => groups.push((settings, vec![row])),
        }
    }
    groups
        .into_iter()
        .map(|(settings, rows)| group(results, settings, rows))
        .collect()
}

fn group<'a>(results: &Results, settings: Vec<&'a Setting>, rows: Vec<&'a Row>) -> Group<'a> {
    let spread = |metric: Metric| {
        let values: Vec<f64> = rows
            .iter()
            .filter_map(|row| Some(metric.of(row.figures.as_ref()?)))
            .collect();
        Spread::of(&values)
    };
    let label = settings
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    Group {
        // Where nothing but the seed is varied.
        label: if label.is_empty() {
            results.name.clone()
        } else {
            label
        },
        val_accuracy: spread(Metric::ValAccuracy),
        val_loss: spread(Metric::ValLoss),
        test_accuracy: spread(Metric::TestAccuracy),
        test_loss: spread(Metric::TestLoss),
        parameters: spread(Metric::Parameters),
        seconds: spread(Metric::Seconds),
        settings,
        rows,
    }
}
