//! `kiln train`.

mod backbone;
mod features;
mod progress;

use std::sync::Arc;
use std::time::Instant;

use kiln_inference::Preprocessor;
use kiln_run::{Environment, Epoch, History, Progress, RunDir, RunFile, Weights};
use kiln_spec::{Model, Recipe, Validation, ValidationSubset};
use kiln_trainer::{Device, Resume, Snapshot, Task, fit, frozen_checksums, initial_weights};

use super::Context;
use crate::args::{TrainArgs, TrainingArgs};
use crate::dataset::Sets;
use crate::interrupt::Polling;
use crate::terminal::{duration, percent, thousands};
use crate::{Outcome, dataset, recipe};
use features::Prepared;
use progress::TrainingProgress;

pub fn run(args: &TrainArgs, context: &Context<'_>) -> anyhow::Result<Outcome> {
    let (run, _, outcome) = train(args, context)?;
    if outcome == Outcome::Done {
        context.terminal.print(&format!("{}\n", run.path().display()))?;
    }
    Ok(outcome)
}

/// Trains a recipe into a new run directory, or goes on in one.
pub fn train(args: &TrainArgs, context: &Context<'_>) -> anyhow::Result<(RunDir, Recipe, Outcome)> {
    let (run, recipe, outcome) = match (&args.resume, &args.path) {
        (Some(path), _) => {
            let run = RunDir::open(path)?;
            let recipe = run.recipe(kiln_trainer::bases())?;
            let outcome = resume(&recipe, &run, &device(&args.training), context)?;
            (run, recipe, outcome)
        }
        (None, Some(path)) => {
            let recipe = recipe::read_file(path, &args.overrides)?;
            let (run, outcome) = begin(&recipe, &args.training, context)?;
            (run, recipe, outcome)
        }
        (None, None) => unreachable!("the command line asks for one of them"),
    };
    Ok((run, recipe, outcome))
}

/// Trains into a new run directory.
pub fn begin(recipe: &Recipe, args: &TrainingArgs, context: &Context<'_>) -> anyhow::Result<(RunDir, Outcome)> {
    let device = &device(args);
    let sets = sets(recipe, context)?;
    let weights = first_weights(recipe, context)?;
    let run = RunDir::create(&args.runs, recipe)?;
    run.write_json(RunFile::Environment, &environment(recipe, device, context)?)?;
    run.write_json(RunFile::Labels, &sets.train.dataset().classes())?;
    announce(recipe, &run, &sets, device, context)?;
    let outcome = go_on(recipe, &Start { weights, ..Start::new(recipe) }, &sets, &run, device, context)?;
    Ok((run, outcome))
}

fn device(args: &TrainingArgs) -> Device {
    if args.stock_kernels { Device::stock_cpu() } else { Device::cpu() }
}

/// Goes on where the run stood after its last whole epoch.
fn resume(recipe: &Recipe, run: &RunDir, device: &Device, context: &Context<'_>) -> anyhow::Result<Outcome> {
    let sets = sets(recipe, context)?;
    let before = run.environment()?;
    let now = environment(recipe, device, context)?;
    if before.data != now.data {
        anyhow::bail!("{} was trained on other data: its checksums differ; train anew", run.path().display());
    }
    if (before.threads, &before.device) != (now.threads, &now.device) {
        context.terminal.detail(&format!(
            "it began with {} threads on {}, and goes on with {} on {}: rounding will differ",
            before.threads, before.device, now.threads, now.device
        ));
    }
    let mut start = Start { weights: first_weights(recipe, context)?, ..Start::new(recipe) };
    if let Some(checkpoint) = run.checkpoint()? {
        if run.file(RunFile::BestCheckpoint).exists() {
            start.trained = run.weights(RunFile::BestCheckpoint)?;
        }
        start.weights.0.extend(start.trained.0.clone());
        let Progress { phase, epochs, history } = checkpoint.progress;
        start.history.epochs = history.epochs;
        (start.phase, start.epochs) = (phase, epochs);
        start.snapshot = Some(Snapshot { weights: checkpoint.weights, optimizer: checkpoint.optimizer });
    }
    announce(recipe, run, &sets, device, context)?;
    let done = start.history.epochs.len();
    context.terminal.status("Resuming", &format!("after epoch {done} of {}", recipe.training.epochs()));
    go_on(recipe, &start, &sets, run, device, context)
}

/// The images, whose classes must be as many as the model's.
fn sets(recipe: &Recipe, context: &Context<'_>) -> anyhow::Result<Sets> {
    let sets = dataset::sets(recipe, context)?;
    match recipe.class_mismatch(recipe.model()?.classes(), sets.train.dataset().classes().len()) {
        Some(problem) => anyhow::bail!("{problem}"),
        None => Ok(sets),
    }
}

/// The weights before any training.
fn first_weights(recipe: &Recipe, context: &Context<'_>) -> anyhow::Result<Weights> {
    let mut weights = initial_weights(&recipe.model()?, recipe.training.seed);
    if let Some(pretrained) = &recipe.backbone {
        weights.0.extend(backbone::weights(pretrained, &context.assets)?.0);
    }
    Ok(weights)
}

/// From where a training goes on.
struct Start {
    /// The whole model's, the best so far.
    weights: Weights,
    /// Those of them that were trained.
    trained: Weights,
    history: History,
    /// The phase, and how many of its epochs are done.
    phase: usize,
    epochs: usize,
    /// Where that phase stood after them.
    snapshot: Option<Snapshot>,
}

impl Start {
    /// From the beginning.
    fn new(recipe: &Recipe) -> Self {
        let history = History::new(recipe.training.monitor);
        Self { weights: Weights::default(), trained: Weights::default(), history, phase: 0, epochs: 0, snapshot: None }
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
    let Trained { weights, history, stopped } = phases(recipe, from, sets, run, device, context)?;
    if !history.epochs.is_empty() {
        run.write(RunFile::Weights, &weights.to_bytes())?;
        write_curves(run, &history)?;
    }
    if stopped {
        let path = run.path().display();
        let text = match history.epochs.len() {
            0 => "before the first epoch was done".into(),
            n => format!("after epoch {n}; `kiln export {path}` takes the best weights so far"),
        };
        context.terminal.status("Stopped", &format!("{text}; `kiln train --resume {path}` goes on"));
        return Ok(Outcome::Interrupted);
    }
    if let Some(best) = history.best() {
        let Epoch { epoch, val_loss, val_accuracy, .. } = best;
        let (time, accuracy) = (duration(start.elapsed().as_secs_f64()), percent(*val_accuracy));
        let text = format!("in {time}; best is epoch {epoch}: val_loss {val_loss:.4}, val_accuracy {accuracy}");
        context.terminal.status("Trained", &text);
    }
    Ok(Outcome::Done)
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
    from: &Start,
    sets: &Sets,
    run: &RunDir,
    device: &Device,
    context: &Context<'_>,
) -> anyhow::Result<Trained> {
    let _polling = Polling::begin();
    let (mut weights, mut history) = (from.weights.clone(), from.history.clone());
    let (epochs, trained) = (recipe.training.epochs(), from.trained.clone());
    let mut progress = TrainingProgress::new(run, epochs, history.clone(), trained, context.terminal);
    let mut model = recipe.model()?;
    let pretrained = frozen_checksums(&model, &weights);
    // Features behind the layers that stay frozen in all phases serve all phases.
    let preprocessor = Arc::new(Preprocessor::new(model.preprocessing().clone())?);
    let models = (0..recipe.training.phases.len()).map(|phase| recipe.model_in(phase));
    let models = models.collect::<Result<Vec<_>, _>>()?;
    // Augmented images are others in every epoch: there is nothing to compute once.
    let prefix = |layers| if recipe.augmentation.is_some() { 0 } else { layers };
    let common = prefix(recipe.fixed_prefix()?);
    if recipe.augmentation.is_some() && recipe.fixed_prefix()? > 0 {
        let text = "frozen layers run on every image in every epoch: features of augmented images cannot be kept";
        context.terminal.status("Augmenting", text);
    }
    let resume_of = |phase: usize| match &from.snapshot {
        Some(snapshot) if phase == from.phase => Some(Resume { epochs: from.epochs, snapshot }),
        _ => None,
    };
    let stop = |weights, history| Ok(Trained { weights, history, stopped: true });
    let images = Prepared::images(sets, &preprocessor);
    let Some(common) = images.advance(common, &model, &weights, device, context)? else {
        return stop(weights, history);
    };
    for (number, (phase, phase_model)) in recipe.training.phases.iter().zip(models).enumerate().skip(from.phase) {
        model = phase_model;
        let Some(samples) = common.advance(prefix(model.fixed_prefix()), &model, &weights, device, context)? else {
            return stop(weights, history);
        };
        let (train, validation) = samples.split(sets);
        let task = Task {
            model: &model,
            first_layer: samples.first_layer,
            weights: &weights,
            history: &history,
            training: &recipe.training,
            phase,
            resume: resume_of(number),
            train: train.augmented(recipe.augmentation),
            validation,
            device,
        };
        progress.start(number, &recipe.training.phases, resume_of(number).map_or(0, |resume| resume.epochs), &model);
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
        Validation::Split(_) | Validation::Subset(ValidationSubset::Val | ValidationSubset::Auto) => "",
        Validation::Subset(ValidationSubset::Test) => "test images ",
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

fn environment(recipe: &Recipe, device: &Device, context: &Context<'_>) -> anyhow::Result<Environment> {
    Ok(Environment {
        kiln: env!("CARGO_PKG_VERSION").into(),
        platform: format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
        device: device.to_string(),
        threads: rayon::current_num_threads(),
        seed: recipe.training.seed,
        data: dataset::checksums(&recipe.data.dataset, context)?,
    })
}
