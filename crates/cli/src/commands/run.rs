//! `kiln run`: train, export, verify, evaluate, report.

use kiln_pipeline::run::finish;
use kiln_pipeline::train::TrainOutcome;

use super::train::{SubjectArgs, train};
use crate::app::{App, Outcome};
use crate::output;

#[derive(Debug, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

/// Goes through all phases, and prints the figures.
pub fn run(args: &RunArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    if args.subject.is_dry_run() {
        return args.subject.print_plan(args.json, app);
    }
    finish_and_print(train(&args.subject, app)?, args.json, app)
}

/// Goes through the phases after the training, and prints the figures.
pub fn finish_and_print(
    trained: TrainOutcome,
    json: bool,
    app: &App<'_>,
) -> anyhow::Result<Outcome> {
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
    let text = || Ok(outcome.to_text());
    output::print(json, &outcome.record(), text, app.terminal)?;
    Ok(if outcome.passed() {
        Outcome::Done
    } else {
        Outcome::CheckFailed
    })
}
