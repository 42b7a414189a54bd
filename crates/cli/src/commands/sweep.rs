//! `kiln sweep`: every combination of a recipe's `[sweep]`, and a comparison.

use kiln_pipeline::inputs::Shard;
use kiln_pipeline::sweep::{Metric, State, SweepRequest, SweepSummary, sweep};

use crate::app::{App, Outcome};
use crate::args::{RecipeArgs, TrainingArgs, shard};
use crate::output;

#[derive(Debug, clap::Args)]
pub struct SweepArgs {
    #[command(flatten)]
    recipe: RecipeArgs,
    #[command(flatten)]
    training: TrainingArgs,
    /// Metric by which the best is chosen and the table sorted; without it, the recipe's `monitor` on the validation
    /// images
    #[arg(long, value_name = "METRIC", value_parser = metric())]
    sort_by: Option<Metric>,
    /// Share the sweep with other processes, on this machine or others with the same folder of runs: begin with the i-th of
    /// every n combinations, and go on with those that no process has; `auto` as in `kiln predict`
    #[arg(long, value_name = "i/n|auto[/n]", value_parser = shard)]
    shard: Option<Shard>,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

/// Reads a metric, and names the metrics in the help.
fn metric() -> impl clap::builder::TypedValueParser<Value = Metric> {
    use clap::builder::{PossibleValuesParser, TypedValueParser};
    PossibleValuesParser::new(Metric::WORDS.map(|(word, _)| word))
        .map(|word| word.parse().expect("one of the possible values"))
}

/// Runs what is not complete, and prints the comparison.
pub fn run(args: &SweepArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let combinations = args.recipe.read_sweep(app)?;
    let request = SweepRequest {
        train: args.training.request()?,
        sort_by: args.sort_by,
        shard: args.shard,
    };
    let outcome = sweep(&combinations, &request, &app.context)?;
    let results = &outcome.results;
    let json = SweepSummary::new(results, &outcome.folder);
    let text = || Ok(results.to_text(&outcome.folder));
    output::print(args.json, &json, text, app.terminal)?;
    let complete = results.count(State::Done);
    let total = results.rows.len();
    if outcome.cancelled {
        let text = if results.is_complete() {
            "before the best was compared on all engines: the same command does that".into()
        } else {
            format!("with {complete} of {total} runs complete: the same command runs the others")
        };
        app.terminal.status("Stopped", &text);
        return Ok(Outcome::Interrupted);
    }
    Ok(if results.is_complete() {
        Outcome::Done
    } else {
        Outcome::CheckFailed
    })
}
