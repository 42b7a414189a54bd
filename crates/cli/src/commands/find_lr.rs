//! `kiln train --find-lr`: the learning rate of a recipe by a range test.

use std::fmt::Write;
use std::path::PathBuf;

use kiln_pipeline::train::{LearningRates, RangeTestRequest, find_learning_rate};
use kiln_run::{RangeTestDir, RangeTestFile};
use kiln_trainer::{RangeEnd, Suggestion};
use serde::Serialize;

use super::train::SubjectArgs;
use crate::app::{App, Outcome};
use crate::output::{self, quoted};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Learning-rate finder")]
pub struct FindLrArgs {
    /// Find a learning rate in place of training: 100 steps are trained with rates that grow from 1e-7 to
    /// 10, and nothing of the weights is kept
    #[arg(long, conflicts_with_all = ["resume", "dry_run"])]
    find_lr: bool,
    /// Phase of the recipe whose learning rate is looked for
    #[arg(long, value_name = "N", requires = "find_lr", default_value_t = 1)]
    phase: usize,
    /// New or empty folder for the plot and the losses [default: RUNS/NAME-lr, with a number if that is
    /// there]
    #[arg(short = 'o', long, value_name = "FOLDER", requires = "find_lr")]
    out: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long, requires = "find_lr")]
    json: bool,
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Record<'a> {
    recipe: &'a str,
    phase: usize,
    /// The recipe's.
    current: f64,
    /// None where the loss does not fall.
    suggested: Option<f64>,
    falls_from: Option<f64>,
    lowest: Option<f64>,
    steepest: Option<f64>,
    /// Whether the loss rises again above `lowest`.
    rises_again: Option<bool>,
    /// `KEY=VALUE` for `--set`.
    set: &'a [String],
    steps: usize,
    end: &'static str,
    files: Vec<PathBuf>,
}

impl FindLrArgs {
    /// Whether a learning rate is to be found.
    pub fn is_asked_for(&self) -> bool {
        self.find_lr
    }
}

/// Tests the learning rates, writes what was found, and prints it.
pub fn run(args: &FindLrArgs, subject: &SubjectArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    if let Some(folder) = &args.out {
        RangeTestDir::check(folder)?;
    }
    let recipe = subject.recipe(app)?;
    let training = subject.training.request()?;
    let mut request = RangeTestRequest::new(training.device);
    request.phase = args.phase;
    let found = find_learning_rate(&recipe, &subject.overrides, &request, &app.context)?;
    let Some(found) = found else {
        return Ok(Outcome::Interrupted);
    };
    let folder = match &args.out {
        Some(folder) => RangeTestDir::at(folder)?,
        None => RangeTestDir::create(&training.runs, &found.recipe)?,
    };
    found.write(&folder)?;
    let record = record(&found, &folder);
    let text = || Ok(text(&found, &folder));
    output::print(args.json, &record, text, app.terminal)?;
    Ok(match (found.tested.end, found.suggestion) {
        (RangeEnd::Cancelled, _) => Outcome::Interrupted,
        (_, None) => Outcome::CheckFailed,
        (_, Some(_)) => Outcome::Done,
    })
}

fn record<'a>(found: &'a LearningRates, folder: &RangeTestDir) -> Record<'a> {
    let suggestion = found.suggestion.as_ref();
    let rate = |of: fn(&Suggestion) -> f64| suggestion.map(of);
    Record {
        recipe: &found.recipe,
        phase: found.phase,
        current: found.current,
        suggested: rate(|it| it.learning_rate),
        falls_from: rate(|it| it.falls_from),
        lowest: rate(|it| it.lowest),
        steepest: rate(|it| it.steepest),
        rises_again: suggestion.map(|it| it.rises_again),
        set: &found.overrides,
        steps: found.tested.steps.len(),
        end: match found.tested.end {
            RangeEnd::Complete => "complete",
            RangeEnd::Diverged => "diverged",
            RangeEnd::NotFinite { .. } => "not_finite",
            RangeEnd::Cancelled => "cancelled",
        },
        files: RangeTestFile::ALL.map(|file| folder.file(file)).to_vec(),
    }
}

fn text(found: &LearningRates, folder: &RangeTestDir) -> String {
    let mut text = format!("{}, phase {}", found.recipe, found.phase);
    let mut lines = Vec::new();
    if let Some(suggestion) = &found.suggestion {
        let _ = write!(text, ": learning rate {:?}", suggestion.learning_rate);
        lines.extend(suggested(found, suggestion));
    } else {
        text += ": no learning rate to suggest";
        lines.push(("loss", not_suggested(found)));
    }
    let file = |file| folder.file(file).display().to_string();
    lines.push((
        "files",
        format!("{}, .svg and .csv", file(RangeTestFile::Png)),
    ));
    text.push('\n');
    for (title, words) in lines {
        let _ = writeln!(text, "  {title:<9} {words}");
    }
    text
}

fn suggested(found: &LearningRates, suggestion: &Suggestion) -> Vec<(&'static str, String)> {
    let Suggestion {
        falls_from,
        lowest,
        steepest,
        rises_again,
        ..
    } = suggestion;
    let end = match (rises_again, found.tested.end) {
        (false, _) => ", where the test ends: higher rates may do as well",
        (true, RangeEnd::Cancelled) => ", and had risen when the test was stopped",
        (true, _) => "",
    };
    let mut lines = vec![
        (
            "loss",
            format!(
                "falls from {falls_from:.1e} to {lowest:.1e}, most steeply at {steepest:.1e}{end}"
            ),
        ),
        (
            "rate",
            format!(
                "{:?}, a tenth of that with the lowest loss; the recipe has {:?}",
                suggestion.learning_rate, found.current
            ),
        ),
    ];
    if !found.overrides.is_empty() {
        let options = found
            .overrides
            .iter()
            .map(|set| format!("--set {}", quoted(set)));
        lines.push(("use", options.collect::<Vec<_>>().join(" ")));
    }
    lines
}

/// Why nothing is suggested.
fn not_suggested(found: &LearningRates) -> String {
    let last = found.tested.steps.last();
    let rate = last.map_or(0.0, |step| step.learning_rate);
    let smoothed = found.tested.smoothed();
    let first = smoothed.first().copied().unwrap_or_default();
    let lowest = smoothed.iter().copied().fold(first, f64::min);
    match found.tested.end {
        RangeEnd::Cancelled => {
            format!("had not risen again when the test was stopped at {rate:.1e}")
        }
        RangeEnd::NotFinite {
            learning_rate,
            loss,
        } => format!(
            "does not fall before it is {loss} at {learning_rate:.1e}: {first:.3} at first, {lowest:.3} at the lowest"
        ),
        RangeEnd::Complete | RangeEnd::Diverged => format!(
            "falls at no rate up to {rate:.1e}: {first:.3} at first, {lowest:.3} at the lowest; check the images, their \
             labels and what is trained, or whether it has been trained already"
        ),
    }
}
