//! `kiln train`.

mod backbone;
mod features;
mod progress;

use std::sync::Arc;
use std::time::Instant;

use kiln_inference::Preprocessor;
use kiln_run::{Environment, Epoch, History, RunDir, RunFile, Weights};
use kiln_spec::{Model, Recipe, Validation};
use kiln_trainer::{Device, Task, fit, frozen_checksums, initial_weights};

use super::Context;
use crate::args::TrainArgs;
use crate::dataset::Sets;
use crate::interrupt::Polling;
use crate::terminal::{duration, percent, thousands};
use crate::{Outcome, dataset, recipe};
use features::Prepared;
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
    let sets = dataset::sets(recipe, &context.assets)?;
    let device = if args.stock_kernels { Device::stock_cpu() } else { Device::cpu() };
    let mut weights = initial_weights(&recipe.model()?, recipe.training.seed);
    if let Some(pretrained) = &recipe.backbone {
        weights.0.extend(backbone::weights(pretrained, &context.assets)?.0);
    }
    let run = RunDir::create(&args.runs, recipe)?;
    run.write_json(RunFile::Environment, &environment(recipe, &device))?;
    announce(recipe, &run, &sets, &device, context)?;
    let start = Instant::now();
    let Trained { weights, history, stopped } = phases(recipe, weights, &sets, &run, &device, context)?;
    if !history.epochs.is_empty() {
        run.write(RunFile::Weights, &weights.to_bytes())?;
        write_curves(&run, &history)?;
    }
    if stopped {
        let text = match history.epochs.len() {
            0 => format!("before the first epoch was done: {} has no weights", run.path().display()),
            n => format!("after epoch {n}: `kiln export {}` takes the best weights so far", run.path().display()),
        };
        context.terminal.status("Stopped", &text);
        return Ok((run, Outcome::Interrupted));
    }
    if let Some(best) = history.best() {
        let Epoch { epoch, val_loss, val_accuracy, .. } = best;
        let (time, accuracy) = (duration(start.elapsed().as_secs_f64()), percent(*val_accuracy));
        let text = format!("in {time}; best is epoch {epoch}: val_loss {val_loss:.4}, val_accuracy {accuracy}");
        context.terminal.status("Trained", &text);
    }
    Ok((run, Outcome::Done))
}

/// What training gave, also if the user stopped it.
struct Trained {
    weights: Weights,
    history: History,
    stopped: bool,
}

/// Trains phase by phase.
fn phases(
    recipe: &Recipe,
    mut weights: Weights,
    sets: &Sets,
    run: &RunDir,
    device: &Device,
    context: &Context<'_>,
) -> anyhow::Result<Trained> {
    let _polling = Polling::begin();
    let mut history = History::default();
    let mut progress = TrainingProgress::new(run, recipe.training.epochs(), context.terminal);
    let mut model = recipe.model()?;
    let pretrained = frozen_checksums(&model, &weights);
    // Features behind the layers that stay frozen in all phases serve all phases.
    let preprocessor = Arc::new(Preprocessor::new(model.preprocessing().clone())?);
    let models = (0..recipe.training.phases.len()).map(|phase| recipe.model_in(phase));
    let models = models.collect::<Result<Vec<_>, _>>()?;
    let common = recipe.fixed_prefix()?;
    let stop = |weights, history| Ok(Trained { weights, history, stopped: true });
    let images = Prepared::images(sets, &preprocessor);
    let Some(common) = images.advance(common, &model, &weights, device, context)? else {
        return stop(weights, history);
    };
    for (number, (phase, phase_model)) in recipe.training.phases.iter().zip(models).enumerate() {
        model = phase_model;
        let Some(samples) = common.advance(model.fixed_prefix(), &model, &weights, device, context)? else {
            return stop(weights, history);
        };
        let (train, validation) = samples.split(sets);
        let task = Task {
            model: &model,
            first_layer: samples.first_layer,
            weights: &weights,
            history: &history,
            phase,
            batch_size: recipe.training.batch_size,
            seed: recipe.training.seed,
            train,
            validation,
            device,
        };
        progress.start(number, &recipe.training.phases, &model);
        let fitted = fit(&task, &mut progress);
        progress.finish();
        let fitted = fitted?;
        (weights, history) = (fitted.best, fitted.history);
        if fitted.stopped {
            return stop(weights, history);
        }
    }
    write_frozen(run, &model, &weights, &pretrained)?;
    Ok(Trained { weights, history, stopped: false })
}

/// Writes the checksums of what stayed frozen to the end. They must be those from before the training.
fn write_frozen(
    run: &RunDir,
    model: &Model,
    weights: &Weights,
    pretrained: &std::collections::BTreeMap<String, String>,
) -> anyhow::Result<()> {
    let frozen = frozen_checksums(model, weights);
    for (name, checksum) in &frozen {
        if pretrained.get(name).is_some_and(|before| before != checksum) {
            anyhow::bail!(
                "tensor `{name}` is frozen, but its checksum changed: this is a bug in kiln, please report it"
            );
        }
    }
    if !frozen.is_empty() {
        run.write_json(RunFile::Frozen, &frozen)?;
    }
    Ok(())
}

fn announce(recipe: &Recipe, run: &RunDir, sets: &Sets, device: &Device, context: &Context<'_>) -> anyhow::Result<()> {
    let from = match recipe.data.validation {
        Validation::Split(_) => "",
        Validation::Subset(_) => "test images ",
    };
    let counts = recipe.model()?.counts();
    let parameters = if counts.trainable == counts.total() {
        format!("{} parameters", thousands(counts.total()))
    } else {
        format!("{} of {} parameters", thousands(counts.trainable), thousands(counts.total()))
    };
    context.terminal.status(
        "Training",
        &format!(
            "{} on {} images ({} {from}for validation), {parameters}, {device}",
            run.path().display(),
            thousands(sets.train.len()),
            thousands(sets.validation.len()),
        ),
    );
    Ok(())
}

fn write_curves(run: &RunDir, history: &History) -> anyhow::Result<()> {
    let (epochs, best) = curves(history);
    Ok(run.write(RunFile::Curves, kiln_eval::curves_svg(&epochs, best)?.as_bytes())?)
}

/// A history as the plots take it, with its best epoch.
pub fn curves(history: &History) -> (Vec<kiln_eval::EpochMetrics>, Option<u32>) {
    let metrics = |epoch: &Epoch| kiln_eval::EpochMetrics {
        epoch: epoch.epoch as u32,
        train_loss: epoch.train_loss,
        train_accuracy: epoch.train_accuracy,
        val_loss: Some(epoch.val_loss),
        val_accuracy: Some(epoch.val_accuracy),
    };
    (history.epochs.iter().map(metrics).collect(), history.best().map(|epoch| epoch.epoch as u32))
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
