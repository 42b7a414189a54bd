//! Runs side by side, as tables and as CSV.

use kiln_metrics::Spread;
use kiln_model::Reference;
use kiln_report::Table;

use kiln_util::{duration, percent, thousands};

use super::figures::{Figures, Group, Metric, groups};
use super::results::{Results, Row};
use crate::error::training::SweepError;

/// What stands where there is no figure.
const NOTHING: &str = "–";

/// One line per run, in the order given.
pub fn runs_table(results: &Results, rows: &[&Row]) -> Table {
    let settings = results.setting_names();
    let reference = reference_name(results);
    let all_done = results.rows.iter().all(|row| row.figures.is_some());
    // The reference stands beside what it is compared with.
    let header = settings
        .iter()
        .copied()
        .chain(["test accuracy"])
        .chain(reference);
    let header = header.chain([
        "test loss",
        "val accuracy",
        "val loss",
        "params",
        "epochs",
        "time",
    ]);
    let header = header.chain((!all_done).then_some("state"));
    let cells = rows.iter().map(|row| {
        let settings = row
            .entry
            .settings
            .iter()
            .map(|setting| setting.value.clone());
        let figures = row.figures.as_ref();
        let cell = |text: fn(&Figures) -> String| figures.map_or_else(|| NOTHING.into(), text);
        settings
            .chain([cell(|f| percent(f.test_accuracy))])
            .chain(reference.map(|_| reference_text(row.entry.reference)))
            .chain([
                cell(|f| format!("{:.4}", f.test_loss)),
                cell(|f| percent(f.val_accuracy)),
                cell(|f| format!("{:.4}", f.val_loss)),
                cell(|f| thousands(f.parameters)),
                cell(|f| f.epochs.to_string()),
                cell(|f| duration(f.seconds)),
            ])
            .chain((!all_done).then(|| row.state().to_string()))
            .collect::<Vec<_>>()
    });
    Table::new(header, cells, settings.len())
}

/// Mean and spread over the seeds, one line per group, the best mean first; nothing if no group has
/// several runs.
pub fn seeds_table(results: &Results) -> Option<Table> {
    let mut groups = groups(results);
    if groups.iter().all(|group| group.rows.len() < 2) {
        return None;
    }
    let mean = |group: &Group<'_>| group.spread(results.sort_by).map(|spread| spread.mean);
    groups.sort_by(|a, b| results.sort_by.order(mean(a), mean(b)));
    let reference = reference_name(results);
    let settings: Vec<&str> = groups[0]
        .settings
        .iter()
        .map(|setting| setting.name.as_str())
        .collect();
    let first_number = settings.len().max(1);
    // Where nothing but the seed is varied, the recipe names the only line.
    let unnamed = settings.is_empty();
    let header = settings.into_iter().chain(unnamed.then_some("recipe"));
    let header = header.chain(["runs", "test accuracy"]).chain(reference);
    let header = header.chain(["min – max", "test loss", "val accuracy", "params", "time"]);
    let cells = groups.iter().map(|group| {
        let names = group.settings.iter().map(|setting| setting.value.clone());
        let mean = |metric: Metric, text: fn(f64) -> String| {
            group
                .spread(metric)
                .map_or_else(|| NOTHING.into(), |spread| text(spread.mean))
        };
        let deviation = |metric: Metric, text: fn(&Spread) -> String| {
            group
                .spread(metric)
                .as_ref()
                .map_or_else(|| NOTHING.into(), text)
        };
        names
            .chain(unnamed.then(|| results.name.clone()))
            .chain([
                format!("{} of {}", group.figures().len(), group.rows.len()),
                deviation(Metric::TestAccuracy, accuracy),
            ])
            .chain(reference.map(|_| reference_text(group.rows[0].entry.reference)))
            .chain([
                deviation(Metric::TestAccuracy, |s| {
                    format!("{} – {}", percent(s.min), percent(s.max))
                }),
                deviation(Metric::TestLoss, loss),
                deviation(Metric::ValAccuracy, accuracy),
                mean(
                    Metric::Parameters,
                    |count| thousands(count.round() as usize),
                ),
                mean(Metric::Seconds, duration),
            ])
            .collect::<Vec<_>>()
    });
    Some(Table::new(header, cells, first_number))
}

/// `99.12 ± 0.05 %`.
fn accuracy(spread: &Spread) -> String {
    match spread.deviation {
        Some(deviation) => format!("{:.2} ± {}", spread.mean * 100.0, percent(deviation)),
        None => percent(spread.mean),
    }
}

fn loss(spread: &Spread) -> String {
    match spread.deviation {
        Some(deviation) => format!("{:.4} ± {deviation:.4}", spread.mean),
        None => format!("{:.4}", spread.mean),
    }
}

/// The heading of the references' column, where there are any.
fn reference_name(results: &Results) -> Option<&str> {
    let any = results.rows.iter().any(|row| row.entry.reference.is_some());
    any.then(|| results.reference.as_deref().unwrap_or("reference"))
}

fn reference_text(reference: Option<Reference>) -> String {
    let Some(Reference {
        test_accuracy,
        test_loss,
    }) = reference
    else {
        return NOTHING.into();
    };
    let accuracy = test_accuracy.map(percent);
    let loss = test_loss.map(|loss| format!("loss {loss:.4}"));
    let figures: Vec<String> = accuracy.into_iter().chain(loss).collect();
    if figures.is_empty() {
        NOTHING.into()
    } else {
        figures.join(", ")
    }
}

/// Writes one line per run, in the recipe's order: what is varied, then the figures, unrounded.
pub fn results_csv(results: &Results) -> Result<Vec<u8>, SweepError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let figures = [
        "parameters",
        "epochs",
        "best_epoch",
        "val_accuracy",
        "val_loss",
        "test_accuracy",
        "test_loss",
        "seconds",
    ];
    let header = ["run", "state"]
        .into_iter()
        .chain(results.setting_names())
        .chain(figures);
    writer.write_record(header.chain(["reference_test_accuracy", "reference_test_loss"]))?;
    for row in &results.rows {
        let text = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        let figure = |value: fn(&Figures) -> f64| text(row.figures.as_ref().map(value));
        let reference = row.entry.reference;
        let fixed = [
            row.entry.run.clone().unwrap_or_default(),
            row.state().to_string(),
        ]
        .into_iter();
        let settings = row
            .entry
            .settings
            .iter()
            .map(|setting| setting.value.clone());
        writer.write_record(fixed.chain(settings).chain([
            figure(|f| f.parameters as f64),
            figure(|f| f.epochs as f64),
            figure(|f| f.best_epoch as f64),
            figure(|f| f.val_accuracy),
            figure(|f| f.val_loss),
            figure(|f| f.test_accuracy),
            figure(|f| f.test_loss),
            figure(|f| f.seconds),
            text(reference.and_then(|reference| reference.test_accuracy)),
            text(reference.and_then(|reference| reference.test_loss)),
        ]))?;
    }
    writer
        .into_inner()
        .map_err(|error| SweepError::Csv(error.into_error().into()))
}
