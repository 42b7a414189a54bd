//! Runs that differ in nothing but the seed.

use kiln_metrics::Spread;
use kiln_model::Setting;
use serde::Serialize;

use super::{Figures, Metric, Results, Row};

/// Runs with the same values of everything but the seed.
#[derive(Serialize)]
pub struct Group<'a> {
    pub label: String,
    #[serde(skip)]
    pub settings: Vec<&'a Setting>,
    #[serde(skip)]
    pub rows: Vec<&'a Row>,
    pub val_accuracy: Option<Spread>,
    pub val_loss: Option<Spread>,
    pub test_accuracy: Option<Spread>,
    pub test_loss: Option<Spread>,
    pub parameters: Option<Spread>,
    pub seconds: Option<Spread>,
}

impl Group<'_> {
    /// The figures of its complete runs.
    pub fn figures(&self) -> Vec<Figures> {
        self.rows.iter().filter_map(|row| row.figures).collect()
    }

    /// Mean and spread of a metric; nothing if no run is complete.
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

/// The groups in the recipe's order; each of one run where the seed is not varied.
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
