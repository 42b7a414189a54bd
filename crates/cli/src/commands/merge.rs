//! `kiln merge`.

use std::path::PathBuf;

use kiln_pipeline::predictions::{Figures, FiguresOptions, MergeRequest, Merged, Origin, merge};
use kiln_util::counted;

use super::eval;
use crate::app::{App, Outcome};
use crate::output::{self, Outputs};

#[derive(Debug, clap::Args)]
pub struct MergeArgs {
    /// Files of predictions, one for each shard, that `kiln eval` or `kiln predict` wrote with --shard
    #[arg(value_name = "FILE.csv|.jsonl|.parquet", required = true)]
    files: Vec<PathBuf>,
    /// Write all predictions in the order of the images into this file, whatever format the shards have
    #[arg(short, long, value_name = "FILE.csv|.jsonl|.parquet")]
    output: PathBuf,
    /// Report accuracy among the K most probable classes too
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(1..))]
    top_k: Option<u16>,
    /// Number of most confident errors to list
    #[arg(long, value_name = "N", default_value_t = 5)]
    mistakes: u16,
    /// Print the figures as JSON in place of the tables, or write them to a file
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
}

/// Merges files of predictions, and prints or writes the figures of the whole.
pub fn run(args: &MergeArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let terminal = app.terminal;
    let origin = Origin::path(&args.output);
    let named = [
        ("--output", Some(args.output.as_path())),
        ("what is kept beside --output", Some(origin.as_path())),
        ("--json", args.json.as_deref()),
    ];
    let outputs = Outputs::check(named, &args.files)?;
    outputs.announce_replaced(terminal);
    let mut figures = FiguresOptions::default();
    figures.top_k = args.top_k.map(usize::from);
    figures.mistakes = args.mistakes.into();
    let mut request = MergeRequest::default();
    request.files.clone_from(&args.files);
    request.output.clone_from(&args.output);
    request.figures = figures;
    let Some(merged) = merge(&request, &app.context)? else {
        return Ok(Outcome::Interrupted);
    };
    let Merged {
        shards,
        images,
        skipped,
        ..
    } = merged;
    let left_out = if skipped > 0 {
        format!("; {} could not be read", counted(skipped, "image"))
    } else {
        String::new()
    };
    let text = format!(
        "{} of {} to {}{left_out}",
        counted(images, "prediction"),
        counted(shards, "shard"),
        args.output.display()
    );
    terminal.status("Wrote", &text);
    if let Some(path) = &args.json {
        output::write_json(path, &merged.record(), terminal)?;
    }
    if !outputs.take_stdout() {
        match &merged.figures {
            Some(Figures::One {
                evaluation,
                mistakes,
                wrong,
            }) => terminal.print(&eval::report_one(
                evaluation,
                (mistakes, *wrong),
                &merged.classes,
                "",
            )?)?,
            Some(Figures::Several(several)) => {
                terminal.print(&eval::report_several(several, ""))?;
            }
            None => (),
        }
    }
    Ok(Outcome::Done)
}
