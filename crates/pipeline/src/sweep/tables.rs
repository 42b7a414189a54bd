//! Runs side by side, as tables and as CSV.

use std::fmt::Write;

use kiln_metrics::Spread;
use kiln_model::{Halving, Reference};
use kiln_report::Table;
use kiln_run::{SweepDir, SweepFile};
use kiln_util::{duration, listed, percent, thousands};

use super::figures::{Figures, Group, Metric, groups};
use super::results::{Results, Row, State};
use crate::error::training::SweepError;

/// What stands where there is no figure.
const NOTHING: &str = "–";

impl Results {
    /// Describes the results for people: the tables, the best run, and where the page is.
    pub fn to_text(&self, folder: &SweepDir) -> String {
        let seeds = seeds_table(self).map(|table| table.to_text() + "\n\n");
        let runs = runs_table(self, &self.sorted()).to_text() + "\n\n";
        let mut text = seeds.unwrap_or_default() + &runs;
        if let Some((row, figures)) = self.best() {
            let by = self.sort_by;
            let value = by
                .of(figures)
                .map_or_else(|| NOTHING.into(), |it| by.text(it));
            let accuracy = figures.test_accuracy.filter(|_| by != Metric::TestAccuracy);
            let accuracy = accuracy.map_or_else(String::new, |accuracy| {
                format!("; {} of the test images", percent(accuracy))
            });
            let _ = writeln!(
                text,
                "Best {}: {}, {value}{accuracy}",
                by.title(),
                row.entry.label
            );
        }
        for note in self.notes() {
            let _ = writeln!(text, "{note}");
        }
        let _ = writeln!(text, "Report: {}", folder.file(SweepFile::Report).display());
        text
    }
}

impl Results {
    /// What must be known of the figures, in sentences.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.is_chosen_by_test_images() && self.count(State::Done) > 1 {
            let text = "The best is chosen by the test images themselves: how good it is on other images, only \
                        others tell.";
            notes.push(text.to_owned());
        }
        let done = || self.rows.iter().filter(|row| row.is_complete());
        if let Some(first) = done().find_map(|row| row.engines.first()) {
            let is_on_first = |row: &Row| row.engines.first() == Some(first);
            let on_several = self.best().filter(|(row, _)| row.engines.len() > 1);
            let engine = if done().all(is_on_first) {
                first.as_str()
            } else {
                "different engines"
            };
            let best = on_several.map_or_else(String::new, |(best, _)| {
                format!("; the best was compared on {}", listed(&best.engines))
            });
            notes.push(format!("Test images were computed with {engine}{best}."));
        }
        if let Some(Halving { factor, min_epochs }) = self.halving {
            notes.push(format!(
                "Successive halving by {factor}, from epoch {min_epochs} on, pruned {} of {} combinations.",
                self.count(State::Pruned),
                self.rows.len(),
            ));
        }
        notes
    }
}

/// One line per run, in the order given.
pub fn runs_table(results: &Results, rows: &[&Row]) -> Table {
    let settings = results.setting_names();
    let reference = reference_name(results);
    let all_done = results.rows.iter().all(Row::is_complete);
    let macro_f1 = results.sort_by == Metric::ValMacroF1;
    // The reference stands beside what it is compared with.
    let header = settings
        .iter()
        .copied()
        .chain(["test accuracy"])
        .chain(reference);
    let header = header
        .chain(["test loss", "val accuracy"])
        .chain(macro_f1.then_some("val macro F1"))
        .chain(["val loss", "params", "epochs", "time"]);
    let header = header.chain((!all_done).then_some("state"));
    let cells = rows.iter().map(|row| {
        let settings = row
            .entry
            .settings
            .iter()
            .map(|setting| setting.value.clone());
        let figures = row.figures.as_ref();
        let metric = |metric: Metric| {
            let value = figures.and_then(|figures| metric.of(figures));
            value.map_or_else(|| NOTHING.into(), |value| metric.text(value))
        };
        let epochs = figures.map_or_else(|| NOTHING.into(), |it| it.epochs.to_string());
        settings
            .chain([metric(Metric::TestAccuracy)])
            .chain(reference.map(|_| reference_text(row.entry.reference)))
            .chain([metric(Metric::TestLoss), metric(Metric::ValAccuracy)])
            .chain(macro_f1.then(|| metric(Metric::ValMacroF1)))
            .chain([
                metric(Metric::ValLoss),
                metric(Metric::Parameters),
                epochs,
                metric(Metric::Seconds),
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
    let macro_f1 = results.sort_by == Metric::ValMacroF1;
    let header = header
        .chain(["min – max", "test loss", "val accuracy"])
        .chain(macro_f1.then_some("val macro F1"))
        .chain(["val loss", "params", "time"]);
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
            ])
            .chain(macro_f1.then(|| deviation(Metric::ValMacroF1, accuracy)))
            .chain([
                deviation(Metric::ValLoss, loss),
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
        "val_macro_f1",
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
        let figure =
            |value: fn(&Figures) -> Option<f64>| text(row.figures.as_ref().and_then(value));
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
            figure(|f| Some(f.parameters as f64)),
            figure(|f| Some(f.epochs as f64)),
            figure(|f| Some(f.best_epoch as f64)),
            figure(|f| Some(f.val_accuracy)),
            figure(|f| Some(f.val_loss)),
            figure(|f| f.val_macro_f1),
            figure(|f| f.test_accuracy),
            figure(|f| f.test_loss),
            figure(|f| Some(f.seconds)),
            text(reference.and_then(|reference| reference.test_accuracy)),
            text(reference.and_then(|reference| reference.test_loss)),
        ]))?;
    }
    writer
        .into_inner()
        .map_err(|error| SweepError::Csv(error.into_error().into()))
}

#[cfg(test)]
mod tests {
    use kiln_model::{Reference, Setting};

    use super::*;
    use crate::sweep::results::Entry;

    fn figures(test_accuracy: f64) -> Figures {
        Figures {
            parameters: 1234,
            epochs: 10,
            best_epoch: 9,
            val_accuracy: test_accuracy - 0.001,
            val_loss: 0.03,
            val_macro_f1: None,
            test_accuracy: Some(test_accuracy),
            test_loss: Some(0.04),
            seconds: 75.0,
        }
    }

    fn setting(key: &str, value: &str) -> Setting {
        let name = key.rsplit('.').next().unwrap().to_string();
        Setting {
            key: key.into(),
            name,
            value: value.into(),
        }
    }

    fn row(settings: Vec<Setting>, figures: Option<Figures>, error: Option<&str>) -> Row {
        let label = settings
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        let run = figures.map(|_| "folder".to_string());
        let reference = Some(Reference {
            test_accuracy: Some(0.992),
            test_loss: None,
        });
        let entry = Entry {
            label,
            settings,
            reference,
            run,
            pruned_after: None,
            error: error.map(Into::into),
        };
        Row {
            entry,
            figures,
            validated_on_test: false,
            engines: Vec::new(),
            origin: Vec::new(),
        }
    }

    fn results(rows: Vec<Row>, sort_by: Metric) -> Results {
        Results {
            name: "small".into(),
            description: None,
            reference: Some("report".into()),
            sort_by,
            halving: None,
            rows,
        }
    }

    fn seeds() -> Results {
        let row = |filters, seed, accuracy: Option<f64>| {
            let settings = vec![
                setting("layers.conv2d.filters", filters),
                setting("training.seed", seed),
            ];
            self::row(settings, accuracy.map(figures), None)
        };
        let rows = vec![
            row("32", "0", Some(0.98)),
            row("32", "1", Some(0.99)),
            row("64", "0", Some(0.995)),
            row("64", "1", None),
        ];
        results(rows, Metric::TestAccuracy)
    }

    #[test]
    fn runs_are_sorted_by_the_metric_and_unfinished_ones_come_last() {
        let filters = |value: &str| vec![setting("layers.conv2d.filters", value)];
        let rows = vec![
            row(filters("8"), None, Some("diverged")),
            row(filters("16"), Some(figures(0.98)), None),
            row(filters("32"), Some(figures(0.99)), None),
        ];
        let results = results(rows, Metric::ValAccuracy);
        let table = runs_table(&results, &results.sorted());
        let expected = "
 filters   test accuracy    report   test loss   val accuracy   val loss   params   epochs         time    state
─────────────────────────────────────────────────────────────────────────────────────────────────────────────────
 32              99.00 %   99.20 %      0.0400        98.90 %     0.0300    1,234       10   1 min 15 s     done
 16              98.00 %   99.20 %      0.0400        97.90 %     0.0300    1,234       10   1 min 15 s     done
 8                     –   99.20 %           –              –          –        –        –            –   failed";
        assert_eq!(
            format!("\n{}", table.to_text()),
            expected,
            "\n{}",
            table.to_text()
        );
        assert_eq!(results.best().unwrap().0.entry.label, "filters 32");
        assert_eq!(
            Results {
                sort_by: Metric::Seconds,
                ..results
            }
            .best()
            .unwrap()
            .0
            .entry
            .label,
            "filters 16"
        );
    }

    /// A row that was pruned after so many epochs, with a loss.
    fn pruned(filters: &str, epochs: usize, val_loss: f64) -> Row {
        let figures = Figures {
            epochs,
            val_loss,
            test_accuracy: None,
            test_loss: None,
            ..figures(0.9)
        };
        let mut row = row(
            vec![setting("layers.conv2d.filters", filters)],
            Some(figures),
            None,
        );
        row.entry.pruned_after = Some(epochs);
        row
    }

    #[test]
    fn what_was_pruned_comes_after_what_is_done_and_is_never_the_best() {
        let done = row(
            vec![setting("layers.conv2d.filters", "8")],
            Some(figures(0.98)),
            None,
        );
        let rows = vec![
            pruned("16", 1, 0.001),
            pruned("32", 3, 0.02),
            done,
            pruned("64", 3, 0.01),
        ];
        let halving = Some(Halving::default());
        let results = Results {
            halving,
            ..results(rows, Metric::ValLoss)
        };
        let filters = |row: &&Row| row.entry.settings[0].value.clone();
        let sorted: Vec<String> = results.sorted().iter().map(filters).collect();
        assert_eq!(sorted, ["8", "64", "32", "16"]);
        assert_eq!(results.best().unwrap().0.entry.label, "filters 8");
        assert!(results.is_complete());
        let table = runs_table(&results, &results.sorted()).to_text();
        let line: Vec<&str> = table.lines().nth(3).unwrap().split_whitespace().collect();
        let expected = "64 – 99.20 % – 89.90 % 0.0100 1,234 3 1 min 15 s pruned";
        assert_eq!(line.join(" "), expected, "{table}");
        let notes = results.notes().join("\n");
        assert!(notes.contains("pruned 3 of 4 combinations"), "{notes}");
        // Their figures are of other epochs than those of the others.
        let group = &groups(&results)[0];
        assert!(group.val_loss.is_none() && group.figures().is_empty());
    }

    #[test]
    fn seeds_are_averaged() {
        let results = seeds();
        let groups = groups(&results);
        assert_eq!(
            groups
                .iter()
                .map(|group| group.label.as_str())
                .collect::<Vec<_>>(),
            ["filters 32", "filters 64"]
        );
        let spread = groups[0].test_accuracy.unwrap();
        assert!(
            (spread.mean - 0.985).abs() < 1e-12 && (spread.min, spread.max) == (0.98, 0.99),
            "{spread:?}"
        );
        let table = seeds_table(&results).unwrap().to_text();
        let expected = "
 filters     runs    test accuracy    report           min – max         test loss     val accuracy          val loss   params         time
────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
 64        1 of 2          99.50 %   99.20 %   99.50 % – 99.50 %            0.0400          99.40 %            0.0300    1,234   1 min 15 s
 32        2 of 2   98.50 ± 0.71 %   99.20 %   98.00 % – 99.00 %   0.0400 ± 0.0000   98.40 ± 0.71 %   0.0300 ± 0.0000    1,234   1 min 15 s";
        assert_eq!(format!("\n{table}"), expected, "\n{table}");
    }

    #[test]
    fn where_only_the_seed_is_varied_the_recipe_names_the_line() {
        let row = |seed, accuracy| {
            row(
                vec![setting("training.seed", seed)],
                Some(figures(accuracy)),
                None,
            )
        };
        let results = results(vec![row("0", 0.98), row("1", 0.99)], Metric::TestAccuracy);
        let table = seeds_table(&results).unwrap();
        assert_eq!((table.rows.len(), table.rows[0][0].as_str()), (1, "small"));
        let filters = vec![setting("layers.conv2d.filters", "3")];
        assert!(
            seeds_table(&super::Results {
                rows: vec![self::row(filters, None, None)],
                ..results
            })
            .is_none()
        );
    }

    #[test]
    fn the_csv_has_every_figure_unrounded() {
        let text = String::from_utf8(results_csv(&seeds()).unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "run,state,filters,seed,parameters,epochs,best_epoch,val_accuracy,val_loss,val_macro_f1,test_accuracy,test_loss,seconds,\
         reference_test_accuracy,reference_test_loss"
        );
        assert_eq!(
            lines[1],
            "folder,done,32,0,1234,10,9,0.979,0.03,,0.98,0.04,75,0.992,"
        );
        assert_eq!(lines[4], ",not run,64,1,,,,,,,,,,0.992,");
    }
}
