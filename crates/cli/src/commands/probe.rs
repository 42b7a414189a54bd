//! `kiln probe`.

use std::path::PathBuf;
use std::time::Instant;

use kiln_pipeline::probe::{ProbeRequest, recipe};
use kiln_pipeline::{Error, engines, train};
use kiln_run::RunFile;
use kiln_util::{duration, write_atomically};

use super::run::finish_and_print;
use crate::app::{App, Outcome};
use crate::args::TrainingArgs;
use crate::output::Outputs;

#[derive(Debug, clap::Args)]
pub struct ProbeArgs {
    /// ONNX file or name of a network, whose features are probed
    #[arg(value_name = "MODEL.onnx")]
    model: String,
    /// Images to fit the layer to, to choose its penalty and to test it: a folder of class folders,
    /// or of such in train, val and test; a CSV list; Parquet, tar, CIFAR's or IDX files; or mnist
    #[arg(long, value_name = "DATA")]
    data: String,
    /// Write the classifier to this file too, which is in the run directory as model.onnx
    #[arg(short = 'o', long, value_name = "FILE.onnx")]
    write: Option<PathBuf>,
    /// Segment, node or value of the graph that gives the features (`kiln describe --segments` lists
    /// them) [default: what the classifier takes]
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    /// Name of the run [default: that of the model, and -probe]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Seed of the splits
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u32,
    /// Change a value of the recipe, such as `input.preprocess=torch` or
    /// `training.label_smoothing=0.1`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    #[command(flatten)]
    training: TrainingArgs,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

/// Fits a dense layer on a model's features, and goes through all phases of a run.
pub fn run(args: &ProbeArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let start = Instant::now();
    if let Some(file) = &args.write {
        engines::check_name(file).map_err(Error::from)?;
    }
    let named = [("--write", args.write.as_deref())];
    Outputs::check(named, &[&args.model])?.announce_replaced(app.terminal);
    let mut request = ProbeRequest::new(&args.model, &args.data);
    request.name.clone_from(&args.name);
    request.output.clone_from(&args.output);
    request.seed = args.seed.into();
    request.overrides.clone_from(&args.overrides);
    let recipe = recipe(&request, &app.context)?;
    let trained = train::train(recipe, &args.training.request()?, &app.context)?;
    let model = trained.run.file(RunFile::Model);
    let outcome = finish_and_print(trained, args.json, app)?;
    if let (Outcome::Done, Some(file)) = (outcome, &args.write) {
        write_atomically(file, &std::fs::read(model)?)?;
        app.terminal.status("Wrote", &file.display().to_string());
    }
    if outcome == Outcome::Interrupted {
        return Ok(outcome);
    }
    let time = duration(start.elapsed().as_secs_f64());
    app.terminal
        .status("Probed", &format!("{} in {time}", args.model));
    Ok(outcome)
}
