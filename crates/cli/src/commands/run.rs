//! `kiln run`: train, export, verify, evaluate, report.

use std::fmt::Write;
use std::path::Path;

use kiln_pipeline::evaluate::{Evaluated, EvaluationRecord};
use kiln_pipeline::parity::Parity;
use kiln_pipeline::run::{RunOutcome, finish};
use kiln_report::text_table;
use kiln_run::RunFile;
use kiln_util::{percent, thousands};
use serde::Serialize;

use super::train::{TrainArgs, train};
use crate::app::{App, Outcome};
use crate::output;

#[derive(Debug, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    train: TrainArgs,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct RunJson<'a> {
    run: &'a Path,
    parity: &'a Parity,
    evaluations: Vec<EvaluationRecord<'a>>,
}

/// Goes through all phases, and prints the figures.
pub fn run(args: &RunArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let trained = train(&args.train, app)?;
    let finished = trained.finished;
    let trained_at = trained.run.path().to_path_buf();
    let Some(outcome) = finish(trained, &app.context)? else {
        if finished {
            let path = trained_at.display();
            let text = format!("before the end; `kiln run --resume {path}` does the rest");
            app.terminal.status("Stopped", &text);
        }
        return Ok(Outcome::Interrupted);
    };
    let evaluations = outcome.evaluations.iter();
    let json = RunJson {
        run: outcome.run.path(),
        parity: &outcome.parity,
        evaluations: evaluations
            .map(|(_, result)| result.record(&outcome.data))
            .collect(),
    };
    output::print(args.json, &json, || summary(&outcome), app.terminal)?;
    Ok(if outcome.parity.passed {
        Outcome::Done
    } else {
        Outcome::CheckFailed
    })
}

fn summary(outcome: &RunOutcome) -> anyhow::Result<String> {
    let RunOutcome {
        recipe,
        run,
        evaluations,
        parity,
        ..
    } = outcome;
    let mut text = String::new();
    if let Some((_, first)) = evaluations.first() {
        let evaluation = &first.evaluation;
        writeln!(
            text,
            "{}: {} of {} test images, loss {:.4}",
            recipe.name,
            percent(evaluation.accuracy),
            thousands(evaluation.images as usize),
            evaluation.loss
        )?;
        writeln!(text, "\n{}\n", engine_table(evaluations))?;
    }
    if let (true, Some(worst)) = (parity.passed, parity.worst()) {
        writeln!(
            text,
            "All implementations agree: {}; scores differ by at most {:.1e} (allowed {}).",
            parity.top_classes(),
            worst.agreement.max_absolute,
            parity.allowed(),
        )?;
    }
    writeln!(text, "Model: {}", run.file(RunFile::Model).display())?;
    writeln!(text, "Report: {}", run.file(RunFile::Report).display())?;
    Ok(text)
}

fn engine_table(evaluations: &[(&str, Evaluated)]) -> String {
    let rows = evaluations.iter().map(|(title, result)| {
        let rate = thousands(result.images_per_second().round() as usize);
        [
            (*title).to_string(),
            percent(result.evaluation.accuracy),
            rate,
        ]
    });
    text_table(["engine", "accuracy", "images/s"], rows, 1)
}
