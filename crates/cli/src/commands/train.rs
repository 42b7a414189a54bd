//! `kiln train`.

use std::path::{Path, PathBuf};

use kiln_pipeline::recipe::RecipeText;
use kiln_pipeline::train::{self, TrainOutcome};
use kiln_run::RunDir;

use super::find_lr::{self, FindLrArgs};
use super::plan;
use crate::app::{App, Outcome};
use crate::args::{TrainingArgs, recipe_text};

#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    #[command(flatten)]
    find_lr: FindLrArgs,
}

/// What is trained: a recipe, or a run whose training is resumed.
#[derive(Debug, clap::Args)]
pub struct SubjectArgs {
    /// Recipe, or the images to make one for as `kiln init` does: a folder or a CSV list
    #[arg(
        value_name = "RECIPE|FOLDER",
        required_unless_present = "resume",
        conflicts_with = "resume"
    )]
    path: Option<PathBuf>,
    /// Change a value of the recipe, such as `training.epochs=3` or `layers.conv2d_1.filters=64`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Resume a training that was interrupted, after its last whole epoch; with other `epochs`, such as `--set
    /// training.epochs=20`, it goes on in a new run directory beside it
    #[arg(long, value_name = "RUN")]
    resume: Option<PathBuf>,
    /// Print what would be trained, and write nothing
    #[arg(long, conflicts_with = "resume")]
    dry_run: bool,
    #[command(flatten)]
    pub training: TrainingArgs,
}

impl SubjectArgs {
    /// Whether nothing is to be trained.
    pub fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Prints what would be trained.
    pub fn print_plan(&self, json: bool, app: &App<'_>) -> anyhow::Result<Outcome> {
        let recipe = self.recipe(app)?;
        let request = self.training.request()?;
        plan::run(&recipe, &self.overrides, &request, json, app)
    }

    /// Reads the recipe, or makes one.
    pub fn recipe(&self, app: &App<'_>) -> anyhow::Result<RecipeText> {
        recipe_text(self.path.as_deref().unwrap_or(Path::new("")), app)
    }
}

/// Trains, and prints the run directory.
pub fn run(args: &TrainArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let TrainArgs { subject, find_lr } = args;
    if find_lr.is_asked_for() {
        return find_lr::run(find_lr, subject, app);
    }
    if subject.is_dry_run() {
        return subject.print_plan(false, app);
    }
    let outcome = train(subject, app)?;
    if !outcome.finished {
        return Ok(Outcome::Interrupted);
    }
    app.terminal
        .print(&format!("{}\n", outcome.run.path().display()))?;
    Ok(Outcome::Done)
}

/// Trains a recipe into a new run directory, or resumes a training.
pub fn train(args: &SubjectArgs, app: &App<'_>) -> anyhow::Result<TrainOutcome> {
    if let Some(path) = &args.resume {
        let run = RunDir::open(path)?;
        let request = args.training.request()?;
        if !args.overrides.is_empty() {
            return Ok(train::extend(
                &run,
                &args.overrides,
                &request,
                &app.context,
            )?);
        }
        return Ok(train::resume(run, &request, &app.context)?);
    }
    let recipe = args.recipe(app)?.parse(&args.overrides, &app.context)?;
    Ok(train::train(
        recipe,
        &args.training.request()?,
        &app.context,
    )?)
}
