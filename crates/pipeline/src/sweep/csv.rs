//! `results.csv`: one line per run.

use super::{Figures, Results};

/// What is varied, then the figures, unrounded; in the recipe's order.
pub fn csv(results: &Results) -> anyhow::Result<Vec<u8>> {
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
    Ok(writer.into_inner()?)
}
