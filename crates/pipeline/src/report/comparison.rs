//! The page that compares several runs.

use kiln_metrics::{Evaluation, wilson_interval};
use kiln_model::Recipe;
use kiln_report::{Block, Curve, EpochMetrics, Figure, Page, RunEpochs, Section, Table, plot_runs};
use kiln_util::{counted, duration, percent, thousands};

use super::paired::same_images;
use super::tables::epoch_metrics;
use super::{fact, footer};
use crate::context::Context;
use crate::error::Result;
use crate::error::training::ReportRunError;
use crate::evaluate::AnyRecord;
use crate::run_record::RunRecord;

/// What the runs are called, in their order: as many as a plot can tell apart.
pub const LETTERS: [&str; 6] = ["A", "B", "C", "D", "E", "F"];

/// Most classes that are listed.
const CLASSES: usize = 50;

/// What is in a cell where there is nothing to say.
const NOTHING: &str = "–";

/// Makes one page that compares two to six runs: their figures, what differs in their recipes, their curves, their
/// classes, and where they were evaluated on the same images, those that only one of them got right. Of more than
/// two, each is compared with the first in this.
///
/// # Errors
///
/// [`ReportRunError::Runs`] if there are not as many, [`ReportRunError::NoEpoch`] if one has nothing to report.
pub fn comparison_page(records: &[RunRecord], context: &Context<'_>) -> Result<Page> {
    if !(2..=LETTERS.len()).contains(&records.len()) {
        let (found, most) = (records.len(), LETTERS.len());
        return Err(ReportRunError::Runs { found, most }.into());
    }
    let is_empty = |record: &&RunRecord| record.history.epochs.is_empty();
    if let Some(record) = records.iter().find(is_empty) {
        let run = record.run.path().to_path_buf();
        return Err(ReportRunError::NoEpoch { run }.into());
    }
    let mut sections = vec![runs(records), recipes(records)];
    sections.extend(training(records)?);
    sections.extend(classes(records));
    for (other, letter) in records.iter().zip(LETTERS).skip(1) {
        sections.push(same_images(
            [&records[0], other],
            [LETTERS[0], letter],
            context,
        )?);
    }
    let names: Vec<String> = records.iter().map(name).collect();
    Ok(Page {
        title: names.join(", "),
        lead: format!("{} compared.", counted(records.len() as u64, "run")),
        highlights: highlights(records),
        sections,
        footer: footer(),
    })
}

/// The name of a run's folder.
fn name(record: &RunRecord) -> String {
    let path = record.run.path();
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// The test images' figures, if it was evaluated.
fn evaluation(record: &RunRecord) -> Option<&AnyRecord<'static>> {
    record.evaluations.first()
}

fn highlights(records: &[RunRecord]) -> Vec<(String, String)> {
    let figure = |(record, letter): (&RunRecord, &str)| {
        let best = record.history.best();
        let (name, value) = match (evaluation(record), best) {
            (Some(evaluation), _) => {
                let (name, value) = evaluation.headline();
                (format!("test {name}"), value)
            }
            (None, Some(best)) => ("validation accuracy".into(), percent(best.val_accuracy)),
            (None, None) => ("test accuracy".into(), NOTHING.into()),
        };
        (format!("{letter}: {name}"), value)
    };
    records.iter().zip(LETTERS).map(figure).collect()
}

/// A table with a row for each name and a column for each run.
fn by_run(what: &str, runs: usize, rows: Vec<(String, Vec<String>)>) -> Block {
    let header = [what].into_iter().chain(LETTERS.into_iter().take(runs));
    let rows = rows
        .into_iter()
        .map(|(name, cells)| [name].into_iter().chain(cells));
    Block::Table {
        table: Table::new(header, rows, 1),
        links: Vec::new(),
    }
}

/// The figures of images that have one class each.
fn one<'a>(record: &'a AnyRecord<'_>) -> Option<&'a Evaluation> {
    match record {
        AnyRecord::One(one) => Some(&one.evaluation),
        AnyRecord::Several(_) => None,
    }
}

/// Where the runs are, and their figures.
fn runs(records: &[RunRecord]) -> Section {
    let places = records.iter().zip(LETTERS).map(|(record, letter)| {
        let path = record.run.path().display().to_string();
        let description = record.recipe.description.as_ref();
        let description = description.map_or_else(String::new, |text| format!(": {text}"));
        fact(letter, path + &description)
    });
    let row = |name: &str, cell: &dyn Fn(&RunRecord) -> Option<String>| {
        let cells = records
            .iter()
            .map(|record| cell(record).unwrap_or_else(|| NOTHING.into()));
        (name.to_owned(), cells.collect::<Vec<_>>())
    };
    let measured = |name: &str, cell: &dyn Fn(&AnyRecord<'_>) -> Option<String>| {
        row(name, &|record| cell(evaluation(record)?))
    };
    let loss = |loss: f64| format!("{loss:.4}");
    let rows = vec![
        measured("test accuracy", &|it| Some(percent(it.accuracy()))),
        measured("95 % interval", &|it| {
            let confusion = &one(it)?.confusion;
            let [low, high] = wilson_interval(confusion.correct(), confusion.total());
            Some(format!("{:.1}–{:.1} %", 100.0 * low, 100.0 * high))
        }),
        measured("mean average precision", &|it| {
            it.mean_average_precision().map(percent)
        }),
        measured("test loss", &|it| Some(loss(it.loss()))),
        measured("macro F1", &|it| Some(loss(it.macro_f1()))),
        measured("calibration error", &|it| {
            one(it)?.calibration.as_ref().map(|it| loss(it.ece))
        }),
        measured("test images", &|it| Some(thousands(it.images() as usize))),
        row("validation accuracy", &|record| {
            Some(percent(record.history.best()?.val_accuracy))
        }),
        row("validation loss", &|record| {
            Some(loss(record.history.best()?.val_loss))
        }),
        row("best epoch", &|record| {
            let best = record.history.best()?;
            Some(format!("{} of {}", best.epoch, record.history.epochs.len()))
        }),
        row("parameters", &|record| {
            Some(thousands(record.recipe.model().counts().total()))
        }),
        row("training time", &|record| Some(duration(record.seconds()))),
    ];
    let has_any = |(_, cells): &(String, Vec<String>)| cells.iter().any(|cell| cell != NOTHING);
    let rows: Vec<_> = rows.into_iter().filter(has_any).collect();
    let text = "The interval covers which images happened to be tested on (Wilson), not how the weights happened to be \
                drawn: another seed may differ by more.";
    Section {
        title: "Runs".into(),
        blocks: vec![
            Block::Facts(places.collect()),
            by_run("", records.len(), rows),
            Block::Text(text.into()),
        ],
    }
}

/// The keys whose values differ, in the order of the recipes.
fn differences(recipes: &[&Recipe]) -> Vec<(String, Vec<String>)> {
    let settings: Vec<Vec<(String, String)>> =
        recipes.iter().map(|recipe| recipe.settings()).collect();
    let mut keys: Vec<&String> = Vec::new();
    for settings in &settings {
        // A key that only a later recipe has comes after the one before it there.
        let mut next = 0;
        for (key, _) in settings {
            let known = keys.iter().position(|known| *known == key);
            if known.is_none() {
                keys.insert(next, key);
            }
            next = known.unwrap_or(next) + 1;
        }
    }
    let row = |key: &String| {
        let value = |settings: &Vec<(String, String)>| {
            let found = settings.iter().find(|(name, _)| name == key);
            found.map_or_else(|| NOTHING.to_owned(), |(_, value)| value.clone())
        };
        (key.clone(), settings.iter().map(value).collect::<Vec<_>>())
    };
    let rows = keys.into_iter().map(row);
    rows.filter(|(_, values)| differ(values)).collect()
}

fn differ(values: &[String]) -> bool {
    values.windows(2).any(|pair| pair[0] != pair[1])
}

/// What differs in the recipes, and in what the runs were made with.
fn recipes(records: &[RunRecord]) -> Section {
    let recipes: Vec<&Recipe> = records.iter().map(|record| &record.recipe).collect();
    let mut rows = differences(&recipes);
    let count = rows.len() as u64;
    for name in ["kiln", "Trained on", "Threads", "Platform"] {
        let value = |record: &RunRecord| {
            let origin = record.origin().into_iter();
            let mut values = origin.filter(|(found, _)| found == name);
            values
                .next()
                .map_or_else(|| NOTHING.into(), |(_, value)| value)
        };
        let values: Vec<String> = records.iter().map(value).collect();
        if differ(&values) {
            rows.push((name.into(), values));
        }
    }
    let text = match count {
        0 => "The recipes are the same.".into(),
        1 => "The recipes differ in one key.".into(),
        _ => format!("The recipes differ in {} keys.", thousands(count as usize)),
    };
    let mut blocks = vec![Block::Text(text)];
    if !rows.is_empty() {
        blocks.push(by_run("key", records.len(), rows));
    }
    Section {
        title: "Differences of the recipes".into(),
        blocks,
    }
}

/// Curves of all runs; nothing where none has epochs that are passes over the images.
fn training(records: &[RunRecord]) -> Result<Option<Section>> {
    let epochs: Vec<Vec<EpochMetrics>> = records
        .iter()
        .map(|record| {
            let epochs = record.history.epochs.iter();
            let passes = epochs.filter(|epoch| epoch.penalty.is_none());
            passes.map(epoch_metrics).collect()
        })
        .collect();
    if epochs.iter().all(Vec::is_empty) {
        return Ok(None);
    }
    let runs = epochs.iter().zip(LETTERS);
    let runs = runs.map(|(epochs, name)| RunEpochs { name, epochs });
    let runs: Vec<RunEpochs<'_>> = runs.collect();
    let figure = |curve: Curve, what: &str| -> Result<Figure> {
        Ok(Figure {
            name: curve.name().into(),
            picture: plot_runs(curve, &runs)?,
            caption: format!("{what} by epoch: validation with marks, training as a thin line"),
        })
    };
    let figures = vec![
        figure(Curve::Loss, "Loss")?,
        figure(Curve::Accuracy, "Share of images classified correctly")?,
    ];
    Ok(Some(Section {
        title: "Training".into(),
        blocks: vec![Block::Figures(figures)],
    }))
}

/// A class's name, F1 and recall.
type ClassScores<'a> = (&'a str, f64, f64);

fn class_scores<'a>(record: &'a AnyRecord<'_>) -> Vec<ClassScores<'a>> {
    match record {
        AnyRecord::One(one) => {
            let classes = one.evaluation.classes.iter();
            classes
                .map(|it| (it.label.as_str(), it.f1, it.recall))
                .collect()
        }
        AnyRecord::Several(several) => {
            let classes = several.evaluation.classes.iter();
            classes
                .map(|it| (it.label.as_str(), it.f1, it.recall))
                .collect()
        }
    }
}

/// F1 and recall of each class, those first that differ most; nothing where a run was not evaluated.
fn classes(records: &[RunRecord]) -> Option<Section> {
    let evaluations = records.iter().map(evaluation);
    let evaluations: Vec<&AnyRecord<'_>> = evaluations.collect::<Option<_>>()?;
    let scores: Vec<Vec<ClassScores<'_>>> = evaluations.iter().map(|it| class_scores(it)).collect();
    let title = "Classes".into();
    let first = &scores[0];
    let has_classes_of_first = |other: &Vec<ClassScores<'_>>| {
        let names = other.iter().map(|(name, ..)| name);
        names.eq(first.iter().map(|(name, ..)| name))
    };
    if !scores.iter().all(has_classes_of_first) {
        let text = "The runs have different classes.".into();
        let blocks = vec![Block::Text(text)];
        return Some(Section { title, blocks });
    }
    let two = records.len() == 2;
    let row = |class: usize| {
        let f1: Vec<f64> = scores.iter().map(|scores| scores[class].1).collect();
        let recall = scores.iter().map(|scores| scores[class].2);
        let change = change(&f1);
        let name = kiln_util::shown(first[class].0, kiln_report::MAX_LABEL);
        let difference = if two {
            format!("{change:+.4}")
        } else {
            format!("{change:.4}")
        };
        let scores = f1.iter().copied().chain(recall);
        let scores = scores.map(|score| format!("{score:.4}"));
        let cells = [name, difference].into_iter().chain(scores);
        (change.abs(), cells.collect::<Vec<String>>())
    };
    let mut rows: Vec<_> = (0..first.len()).map(row).collect();
    rows.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let all = rows.len();
    rows.truncate(CLASSES);
    let which = if rows.len() < all {
        format!("{} of {} classes", rows.len(), thousands(all))
    } else {
        "The classes".into()
    };
    let text = format!("{which}, those first whose F1 differs most.");
    let letters = || LETTERS.into_iter().take(records.len());
    let difference = if two {
        "F1 of B less A's"
    } else {
        "largest difference of F1"
    };
    let header = ["class".to_owned(), difference.to_owned()]
        .into_iter()
        .chain(letters().map(|letter| format!("F1 of {letter}")))
        .chain(letters().map(|letter| format!("recall of {letter}")));
    let table = Table::new(header, rows.into_iter().map(|(_, row)| row), 1);
    let blocks = vec![
        Block::Text(text),
        Block::Table {
            table,
            links: Vec::new(),
        },
    ];
    Some(Section { title, blocks })
}

/// Of two scores, the second less the first; of more, the largest less the smallest.
fn change(scores: &[f64]) -> f64 {
    if let [first, second] = scores {
        return second - first;
    }
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let smallest = scores.iter().copied().fold(f64::INFINITY, f64::min);
    largest - smallest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(set: &[&str]) -> Recipe {
        let text = "layers = [{ type = \"flatten\" }, { type = \"dense\", units = 10 }]";
        let set: Vec<String> = set.iter().map(ToString::to_string).collect();
        Recipe::parse(text, "small.toml", "small", &set).unwrap()
    }

    #[test]
    fn only_keys_that_differ_are_listed() {
        let first = recipe(&[]);
        assert_eq!(differences(&[&first, &first]), []);
        let set = [
            "training.seed=7",
            "training.label_smoothing=0.1",
            "export.softmax=true",
        ];
        let second = recipe(&set);
        let rows = differences(&[&first, &second, &first]);
        let row =
            |key: &str, values: [&str; 3]| (key.to_owned(), values.map(String::from).to_vec());
        assert_eq!(
            rows,
            [
                row("training.seed", ["0", "7", "0"]),
                row("training.label_smoothing", ["–", "0.1", "–"]),
                row("export.softmax", ["false", "true", "false"]),
            ]
        );
    }

    #[test]
    fn a_change_has_a_sign_between_two_and_is_a_range_among_more() {
        assert!((change(&[0.5, 0.25]) + 0.25).abs() < 1e-12);
        assert!((change(&[0.5, 0.25, 0.75]) - 0.5).abs() < 1e-12);
    }
}
