//! `kiln train`.

mod backbone;
mod features;
mod live;
mod phases;
mod progress;
mod start;

use std::time::Instant;

use kiln_model::{Recipe, Validation, ValidationSubset};
use kiln_run::{Environment, Epoch, History, RunDir, RunFile, RunState};
use kiln_trainer::{Device, DeviceKind, TrainError};
use kiln_util::Lock;

use super::Context;
use crate::args::{TrainArgs, TrainingArgs};
use crate::dataset::Sets;
use crate::{Outcome, dataset, recipe};
use kiln_util::{counted, duration, percent, thousands};
use phases::{Trained, phases};
use start::Start;
pub use start::initial as initial_weights;

pub fn run(args: &TrainArgs, context: &Context<'_>) -> anyhow::Result<Outcome> {
    let Attempt { run, outcome, .. } = train(args, context)?;
    if outcome == Outcome::Done {
        context
            .terminal
            .print(&format!("{}\n", run.path().display()))?;
    }
    Ok(outcome)
}

/// A training that went to its end, or was stopped.
pub struct Attempt {
    pub recipe: Recipe,
    pub run: RunDir,
    pub outcome: Outcome,
    /// The run is this process's until it is dropped.
    pub lock: Lock,
}

/// Trains a recipe into a new run directory, or goes on in one.
pub fn train(args: &TrainArgs, context: &Context<'_>) -> anyhow::Result<Attempt> {
    match (&args.resume, &args.path) {
        (Some(path), _) => {
            let run = RunDir::open(path)?;
            resume(
                run.recipe(kiln_trainer::bases())?,
                run,
                &args.training,
                context,
            )
        }
        (None, Some(path)) => begin(
            recipe::read_file(path, &args.overrides)?,
            &args.training,
            context,
        ),
        (None, None) => unreachable!("the command line asks for one of them"),
    }
}

/// Trains into a new run directory.
pub fn begin(
    recipe: Recipe,
    args: &TrainingArgs,
    context: &Context<'_>,
) -> anyhow::Result<Attempt> {
    let device = &device(args)?;
    let sets = sets(&recipe, context)?;
    let start = Start::first(&recipe, context)?;
    let environment = environment(&recipe, device, context)?;
    let (run, lock) = RunDir::create(&args.runs, &recipe)?;
    describe(&run, &environment, &sets)?;
    announce(&recipe, &run, &sets, device, context)?;
    let outcome = go_on(&recipe, &start, &sets, &run, device, context)?;
    Ok(Attempt {
        recipe,
        run,
        outcome,
        lock,
    })
}

/// The device that was asked for, which must work.
pub fn device(args: &TrainingArgs) -> anyhow::Result<Device> {
    let device = silently(args.device)?;
    Ok(if args.stock_kernels {
        device.stock()
    } else {
        device
    })
}

/// Set to 1, lets training run on a "GPU" that is a program on the processor, to try out `wgpu`
/// where there is no GPU.
const SOFTWARE: &str = "KILN_SOFTWARE_GPU";

/// A device for training. A GPU's driver that is missing is a panic in Burn, which becomes an
/// error: one message is enough.
pub fn silently(kind: DeviceKind) -> Result<Device, TrainError> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let device = Device::new(
        kind,
        std::env::var_os(SOFTWARE).is_some_and(|value| value == "1"),
    );
    std::panic::set_hook(hook);
    device
}

/// Goes on where the run stood after its last whole epoch.
pub fn resume(
    recipe: Recipe,
    run: RunDir,
    args: &TrainingArgs,
    context: &Context<'_>,
) -> anyhow::Result<Attempt> {
    let device = &device(args)?;
    let sets = sets(&recipe, context)?;
    let lock = run.lock()?;
    let now = environment(&recipe, device, context)?;
    let before = match run.state() {
        // It may have been interrupted before it was described, and has nothing to lose.
        RunState::Begun => {
            describe(&run, &now, &sets)?;
            now.clone()
        }
        RunState::Trained => run.environment()?,
    };
    if before.data != now.data {
        anyhow::bail!(
            "{} was trained on other data: its checksums differ; train it again from the start",
            run.path().display()
        );
    }
    if (before.threads, &before.device) != (now.threads, &now.device) {
        context.terminal.detail(&format!(
            "it began with {} on {}, and resumes with {} on {}: rounding will differ",
            counted(before.threads as u64, "thread"),
            before.device,
            now.threads,
            now.device
        ));
    }
    let start = Start::of(&run, &recipe, context)?;
    announce(&recipe, &run, &sets, device, context)?;
    let done = start.history.epochs.len();
    context.terminal.status(
        "Resuming",
        &format!("after epoch {done} of {}", recipe.training.epochs()),
    );
    let outcome = go_on(&recipe, &start, &sets, &run, device, context)?;
    Ok(Attempt {
        recipe,
        run,
        outcome,
        lock,
    })
}

/// Writes what the run is made with and what its classes are.
fn describe(run: &RunDir, environment: &Environment, sets: &Sets) -> anyhow::Result<()> {
    run.write_json(RunFile::Environment, environment)?;
    Ok(run.write_json(RunFile::Labels, &sets.train.dataset().classes())?)
}

/// The images, whose classes must be as many as the model's.
fn sets(recipe: &Recipe, context: &Context<'_>) -> anyhow::Result<Sets> {
    let sets = dataset::sets(recipe, context)?;
    match recipe.class_mismatch(
        recipe.model().classes(),
        sets.train.dataset().classes().len(),
    ) {
        Some(problem) => anyhow::bail!("{problem}"),
        None => Ok(sets),
    }
}

/// Trains to the end, and writes what there is then.
fn go_on(
    recipe: &Recipe,
    from: &Start,
    sets: &Sets,
    run: &RunDir,
    device: &Device,
    context: &Context<'_>,
) -> anyhow::Result<Outcome> {
    let start = Instant::now();
    let Trained {
        weights,
        history,
        stopped,
    } = phases(recipe, from, sets, run, device, context)?;
    if !history.epochs.is_empty() {
        run.write_weights(&weights)?;
        write_curves(run, &history)?;
    }
    if stopped {
        let path = run.path().display();
        let text = match history.epochs.len() {
            0 => "before the first epoch was done".into(),
            n => format!("after epoch {n}; `kiln export {path}` takes the best weights so far"),
        };
        context.terminal.status(
            "Stopped",
            &format!("{text}; `kiln train --resume {path}` resumes it"),
        );
        return Ok(Outcome::Interrupted);
    }
    if let Some(best) = history.best() {
        let Epoch {
            epoch,
            val_loss,
            val_accuracy,
            ..
        } = best;
        let (time, accuracy) = (
            duration(start.elapsed().as_secs_f64()),
            percent(*val_accuracy),
        );
        let text = format!(
            "in {time}; best is epoch {epoch}: val_loss {val_loss:.4}, val_accuracy {accuracy}"
        );
        context.terminal.status("Trained", &text);
    }
    Ok(Outcome::Done)
}

fn announce(
    recipe: &Recipe,
    run: &RunDir,
    sets: &Sets,
    device: &Device,
    context: &Context<'_>,
) -> anyhow::Result<()> {
    let from = match recipe.data.validation {
        Validation::Split(_)
        | Validation::Subset(ValidationSubset::Val | ValidationSubset::Auto) => "",
        Validation::Subset(ValidationSubset::Test) => "test images ",
    };
    let counts = recipe.model().counts();
    let parameters = if counts.trainable == counts.total() {
        counted(counts.total() as u64, "parameter")
    } else {
        format!(
            "{} of {}",
            thousands(counts.trainable),
            counted(counts.total() as u64, "parameter")
        )
    };
    context.terminal.status(
        "Training",
        &format!(
            "{} on {} ({} {from}for validation), {parameters}, {device}",
            run.path().display(),
            counted(sets.train.len() as u64, "image"),
            thousands(sets.validation.len()),
        ),
    );
    Ok(())
}

fn write_curves(run: &RunDir, history: &History) -> anyhow::Result<()> {
    let (epochs, best) = curves(history);
    Ok(run.write(
        RunFile::Curves,
        kiln_report::plot_curves(&epochs, best)?.to_svg().as_bytes(),
    )?)
}

/// A history as the plots take it, with its best epoch.
pub fn curves(history: &History) -> (Vec<kiln_report::EpochMetrics>, Option<u32>) {
    let metrics = |epoch: &Epoch| kiln_report::EpochMetrics {
        epoch: epoch.epoch as u32,
        train_loss: epoch.train_loss,
        train_accuracy: epoch.train_accuracy,
        val_loss: Some(epoch.val_loss),
        val_accuracy: Some(epoch.val_accuracy),
    };
    (
        history.epochs.iter().map(metrics).collect(),
        history.best().map(|epoch| epoch.epoch as u32),
    )
}

/// What a run that begins now is made with.
pub fn environment(
    recipe: &Recipe,
    device: &Device,
    context: &Context<'_>,
) -> anyhow::Result<Environment> {
    Ok(Environment {
        kiln: kiln_util::VERSION.into(),
        platform: kiln_util::platform(),
        device: device.to_string(),
        threads: rayon::current_num_threads(),
        seed: recipe.training.seed,
        data: dataset::checksums(&recipe.data.dataset, context)?,
    })
}
