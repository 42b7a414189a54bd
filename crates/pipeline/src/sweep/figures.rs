//! The figures that a sweep compares, by run and by group of seeds.

use std::cmp::Ordering;

use kiln_metrics::Spread;
use kiln_model::{Monitor, Reference, Setting};
use kiln_run::Epoch;
use kiln_util::{duration, percent, str_enum, thousands};
use serde::{Deserialize, Serialize};

use super::results::{Results, Row};
use crate::evaluate::AnyRecord;
use crate::run_record::RunRecord;

/// The figures of a run, complete or pruned.
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
    /// Mean F1 of the classes over the validation images after that epoch, 0 to 1; none in runs of older versions.
    pub val_macro_f1: Option<f64>,
    /// Test accuracy of the exported file, 0 to 1; none of a run that was pruned.
    pub test_accuracy: Option<f64>,
    /// Test loss of the exported file, in nats; none of a run that was pruned.
    pub test_loss: Option<f64>,
    /// Time that the epochs took.
    pub seconds: f64,
}

impl Figures {
    /// Returns the figures of a run; those of the test images if it is complete. `None` before its first epoch.
    pub fn of(record: &RunRecord) -> Option<Self> {
        let best = record.history.best()?;
        let complete = record.evaluations.first().filter(|_| record.is_complete());
        Some(Self {
            parameters: record.recipe.model().counts().total(),
            epochs: record.history.epochs.len(),
            best_epoch: best.epoch,
            val_accuracy: best.val_accuracy,
            val_loss: best.val_loss,
            val_macro_f1: best.val_macro_f1,
            test_accuracy: complete.map(AnyRecord::accuracy),
            test_loss: complete.map(AnyRecord::loss),
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
    /// Mean F1 of the classes on the validation images after the best epoch.
    ValMacroF1,
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
    ValMacroF1 = "val_macro_f1",
    TestAccuracy = "test_accuracy",
    TestLoss = "test_loss",
    Parameters = "parameters",
    Seconds = "seconds",
});

impl From<Monitor> for Metric {
    fn from(monitor: Monitor) -> Self {
        match monitor {
            Monitor::ValLoss => Self::ValLoss,
            Monitor::ValAccuracy => Self::ValAccuracy,
            Monitor::ValMacroF1 => Self::ValMacroF1,
        }
    }
}

impl Metric {
    /// Returns the metric's value, where there is one.
    pub fn of(self, figures: &Figures) -> Option<f64> {
        match self {
            Self::ValAccuracy => Some(figures.val_accuracy),
            Self::ValLoss => Some(figures.val_loss),
            Self::ValMacroF1 => figures.val_macro_f1,
            Self::TestAccuracy => figures.test_accuracy,
            Self::TestLoss => figures.test_loss,
            Self::Parameters => Some(figures.parameters as f64),
            Self::Seconds => Some(figures.seconds),
        }
    }

    /// Returns the metric's value after an epoch, of those of the validation images.
    pub const fn of_epoch(self, epoch: &Epoch) -> Option<f64> {
        match self {
            Self::ValAccuracy => Some(epoch.val_accuracy),
            Self::ValLoss => Some(epoch.val_loss),
            Self::ValMacroF1 => epoch.val_macro_f1,
            Self::TestAccuracy | Self::TestLoss | Self::Parameters | Self::Seconds => None,
        }
    }

    /// Returns the metric's value that others reached, where there is one.
    pub const fn of_reference(self, reference: Reference) -> Option<f64> {
        match self {
            Self::TestAccuracy => reference.test_accuracy,
            Self::TestLoss => reference.test_loss,
            Self::ValAccuracy
            | Self::ValLoss
            | Self::ValMacroF1
            | Self::Parameters
            | Self::Seconds => None,
        }
    }

    /// Returns what the metric is, for people.
    pub const fn description(self) -> &'static str {
        match self {
            Self::ValAccuracy => {
                "Share of the validation images classified correctly after the best epoch"
            }
            Self::ValLoss => "Cross-entropy on the validation images after the best epoch",
            Self::ValMacroF1 => {
                "Mean F1 of the classes on the validation images after the best epoch"
            }
            Self::TestAccuracy => {
                "Share of the test images that each run's exported model classifies correctly"
            }
            Self::TestLoss => "Cross-entropy of each run's exported model on the test images",
            Self::Parameters => "Number of parameters of all layers",
            Self::Seconds => "Time that the epochs took",
        }
    }

    /// Returns the unit of a plot's axis, where shares are in percent.
    pub const fn unit(self) -> Option<&'static str> {
        match self {
            Self::ValAccuracy | Self::ValMacroF1 | Self::TestAccuracy => Some("%"),
            Self::Seconds => Some("s"),
            Self::ValLoss | Self::TestLoss | Self::Parameters => None,
        }
    }

    /// Whether it is measured on the validation images.
    pub const fn is_of_validation(self) -> bool {
        matches!(self, Self::ValAccuracy | Self::ValLoss | Self::ValMacroF1)
    }

    /// Whether it is measured on the test images.
    pub const fn is_of_test(self) -> bool {
        matches!(self, Self::TestAccuracy | Self::TestLoss)
    }

    /// Whether it is a share, from 0 to 1, of which more is better.
    pub const fn is_share(self) -> bool {
        matches!(
            self,
            Self::ValAccuracy | Self::ValMacroF1 | Self::TestAccuracy
        )
    }

    /// Returns a value of the metric for people.
    pub fn text(self, value: f64) -> String {
        match self {
            Self::ValAccuracy | Self::ValMacroF1 | Self::TestAccuracy => percent(value),
            Self::ValLoss | Self::TestLoss => format!("{value:.4}"),
            Self::Parameters => thousands(value.round() as usize),
            Self::Seconds => duration(value),
        }
    }

    /// The metric's name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::ValAccuracy => "validation accuracy",
            Self::ValLoss => "validation loss",
            Self::ValMacroF1 => "validation macro F1",
            Self::TestAccuracy => "test accuracy",
            Self::TestLoss => "test loss",
            Self::Parameters => "parameters",
            Self::Seconds => "training time",
        }
    }

    /// Orders two runs: the better first, those without figures last.
    pub fn best_first(self, a: Option<&Figures>, b: Option<&Figures>) -> Ordering {
        let value = |figures: Option<&Figures>| figures.and_then(|figures| self.of(figures));
        self.order(value(a), value(b))
    }

    /// Orders two values of the metric likewise.
    pub fn order(self, a: Option<f64>, b: Option<f64>) -> Ordering {
        match (a, b) {
            (Some(a), Some(b)) if self.is_share() => b.total_cmp(&a),
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
    /// Spread of `val_macro_f1`; `None` if no run is complete.
    pub val_macro_f1: Option<Spread>,
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
        let complete = self.rows.iter().filter(|row| row.is_complete());
        complete.filter_map(|row| row.figures).collect()
    }

    /// Returns mean and spread of a metric, or `None` if no run is complete.
    pub const fn spread(&self, metric: Metric) -> Option<Spread> {
        match metric {
            Metric::ValAccuracy => self.val_accuracy,
            Metric::ValLoss => self.val_loss,
            Metric::ValMacroF1 => self.val_macro_f1,
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
            .filter(|row| row.is_complete())
            .filter_map(|row| metric.of(row.figures.as_ref()?))
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
        val_macro_f1: spread(Metric::ValMacroF1),
        test_accuracy: spread(Metric::TestAccuracy),
        test_loss: spread(Metric::TestLoss),
        parameters: spread(Metric::Parameters),
        seconds: spread(Metric::Seconds),
        settings,
        rows,
    }
}
