//! Runs side by side.

use kiln_eval::{Spread, Table};
use kiln_spec::Reference;

use super::{Figures, Group, Metric, Results, Row, groups};
use crate::terminal::{duration, percent, thousands};

/// What stands where there is no figure.
const NOTHING: &str = "–";

/// One line per run, in the order given.
pub fn runs_table(results: &Results, rows: &[&Row]) -> Table {
    let settings = results.setting_names();
    let reference = reference_name(results);
    let all_done = results.rows.iter().all(|row| row.figures.is_some());
    let header = settings.iter().copied();
    let header = header.chain(["params", "epochs", "val accuracy", "val loss", "test accuracy", "test loss"]);
    let header = header.chain(reference).chain(["time"]).chain((!all_done).then_some("state"));
    let cells = rows.iter().map(|row| {
        let settings = row.entry.settings.iter().map(|setting| setting.value.clone());
        let figures =
            row.figures.as_ref().map_or_else(|| [const { String::new() }; 7].map(|_| NOTHING.into()), figures);
        let [params, epochs, val_accuracy, val_loss, test_accuracy, test_loss, time] = figures;
        settings
            .chain([params, epochs, val_accuracy, val_loss, test_accuracy, test_loss])
            .chain(reference.map(|_| reference_text(row.entry.reference)))
            .chain([time])
            .chain((!all_done).then(|| row.state().to_string()))
            .collect::<Vec<_>>()
    });
    Table::new(header, cells, settings.len())
}

fn figures(figures: &Figures) -> [String; 7] {
    [
        thousands(figures.parameters),
        figures.epochs.to_string(),
        percent(figures.val_accuracy),
        format!("{:.4}", figures.val_loss),
        percent(figures.test_accuracy),
        format!("{:.4}", figures.test_loss),
        duration(figures.seconds),
    ]
}

/// Mean and spread over the seeds, one line per group, the best mean first; nothing if no group has several runs.
pub fn seeds_table(results: &Results) -> Option<Table> {
    let mut groups = groups(results);
    if groups.iter().all(|group| group.rows.len() < 2) {
        return None;
    }
    let mean = |group: &Group<'_>| group.spread(results.sort_by).map(|spread| spread.mean);
    groups.sort_by(|a, b| results.sort_by.order(mean(a), mean(b)));
    let reference = reference_name(results);
    let settings: Vec<&str> = groups[0].settings.iter().map(|setting| setting.name.as_str()).collect();
    let first_number = settings.len().max(1);
    // Where nothing but the seed is varied, the recipe names the only line.
    let unnamed = settings.is_empty();
    let header = settings.into_iter().chain(unnamed.then_some("recipe"));
    let header = header.chain(["runs", "params", "val accuracy", "test accuracy", "min – max", "test loss"]);
    let header = header.chain(reference).chain(["time"]);
    let cells = groups.iter().map(|group| {
        let names = group.settings.iter().map(|setting| setting.value.clone());
        let mean = |metric: Metric, text: fn(f64) -> String| {
            group.spread(metric).map_or_else(|| NOTHING.into(), |spread| text(spread.mean))
        };
        let deviation = |metric: Metric, text: fn(&Spread) -> String| {
            group.spread(metric).as_ref().map_or_else(|| NOTHING.into(), text)
        };
        names
            .chain(unnamed.then(|| results.name.clone()))
            .chain([
                format!("{} of {}", group.figures().len(), group.rows.len()),
                mean(Metric::Parameters, |count| thousands(count.round() as usize)),
                deviation(Metric::ValAccuracy, accuracy),
                deviation(Metric::TestAccuracy, accuracy),
                deviation(Metric::TestAccuracy, |s| format!("{} – {}", percent(s.min), percent(s.max))),
                deviation(Metric::TestLoss, loss),
            ])
            .chain(reference.map(|_| reference_text(group.rows[0].entry.reference)))
            .chain([mean(Metric::Seconds, duration)])
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
    let Some(Reference { test_accuracy, test_loss }) = reference else { return NOTHING.into() };
    let accuracy = test_accuracy.map(percent);
    let loss = test_loss.map(|loss| format!("loss {loss:.4}"));
    let figures: Vec<String> = accuracy.into_iter().chain(loss).collect();
    if figures.is_empty() { NOTHING.into() } else { figures.join(", ") }
}
