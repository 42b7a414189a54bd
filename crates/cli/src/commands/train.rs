//! `kiln train`.

mod progress;

use kiln_run::{Environment, RunDir, RunFile};
use kiln_spec::{Recipe, Validation};
use kiln_trainer::{Device, Task, fit};

use super::Context;
use crate::args::TrainArgs;
use crate::terminal::{duration, percent, thousands};
use crate::{Outcome, dataset, recipe};
use progress::TrainingProgress;

pub fn run(args: &TrainArgs, context: &Context<'_>) -> anyhow::Result<Outcome> {
    let recipe = recipe::read(&args.recipe)?;
    let (run, outcome) = train(args, &recipe, context)?;
    if outcome == Outcome::Done {
        context.terminal.print(&format!("{}\n", run.path().display()))?;
    }
    Ok(outcome)
}

/// Trains a recipe into a new run directory.
pub fn train(args: &TrainArgs, recipe: &Recipe, context: &Context<'_>) -> anyhow::Result<(RunDir, Outcome)> {
    let terminal = context.terminal;
    let model = recipe.model()?;
    let (train, validation) = dataset::views(recipe, &context.assets)?;
    let device = Device::cpu();
    let run = RunDir::create(&args.runs, recipe)?;
    run.write_json(RunFile::Environment, &environment(recipe, &device))?;
    let from = match recipe.data.validation {
        Validation::Split(_) => "",
        Validation::Subset(_) => "test ",
    };
    terminal.status(
        "Training",
        &format!(
            "{} on {} images ({} {from}for validation), {} parameters, {device}",
            run.path().display(),
            thousands(train.len()),
            thousands(validation.len()),
            thousands(model.counts().total()),
        ),
    );
    let start = std::time::Instant::now();
    let task = Task { model: &model, training: &recipe.training, train, validation, device: &device };
    let mut progress = TrainingProgress::new(&run, &task, terminal);
    let fitted = fit(&task, &mut progress);
    progress.finish();
    let fitted = fitted?;
    if fitted.stopped {
        let kept = fitted.history.epochs.len();
        let text = match kept {
            0 => format!("before the first epoch was done: {} holds no weights", run.path().display()),
            n => format!("after epoch {n}: its weights are {}", run.file(RunFile::LastCheckpoint).display()),
        };
        terminal.status("Stopped", &text);
        return Ok((run, Outcome::Interrupted));
    }
    run.write(RunFile::Weights, &fitted.best.to_bytes())?;
    write_curves(&run, &fitted.history)?;
    if let Some(best) = fitted.history.best() {
        terminal.status(
            "Trained",
            &format!(
                "in {}; best is epoch {}: val_loss {:.4}, val_accuracy {}",
                duration(start.elapsed().as_secs_f64()),
                best.epoch,
                best.val_loss,
                percent(best.val_accuracy),
            ),
        );
    }
    Ok((run, Outcome::Done))
}

fn write_curves(run: &RunDir, history: &kiln_run::History) -> anyhow::Result<()> {
    let epochs: Vec<kiln_eval::EpochMetrics> = history
        .epochs
        .iter()
        .map(|epoch| kiln_eval::EpochMetrics {
            epoch: epoch.epoch as u32,
            train_loss: epoch.train_loss,
            train_accuracy: epoch.train_accuracy,
            val_loss: Some(epoch.val_loss),
            val_accuracy: Some(epoch.val_accuracy),
        })
        .collect();
    let best = history.best().map(|epoch| epoch.epoch as u32);
    Ok(run.write(RunFile::Curves, kiln_eval::curves_svg(&epochs, best)?.as_bytes())?)
}

fn environment(recipe: &Recipe, device: &Device) -> Environment {
    Environment {
        kiln: env!("CARGO_PKG_VERSION").into(),
        platform: format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
        device: device.to_string(),
        threads: rayon::current_num_threads(),
        seed: recipe.training.seed,
        data: dataset::checksums(recipe.data.dataset),
    }
}
