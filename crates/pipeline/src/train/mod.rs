//! Phase 2: trains a recipe into a run directory, or resumes a training that was interrupted.

mod extend;
mod features;
mod initial;
mod log;
mod neighbors;
mod phases;
mod range_test;
mod start;
mod unfold;

use std::path::PathBuf;
use std::time::Instant;

use kiln_model::{Recipe, Validation, ValidationSubset};
use kiln_report::plot_curves;
use kiln_run::{Environment, RunDir, RunFile, RunState};
use kiln_trainer::Device;
use kiln_util::Lock;

use crate::backbone::BackboneFile;
use crate::context::Context;
use crate::dataset::{self, Splits};
use crate::error::Result;
use crate::error::training::BackboneError;
pub use crate::error::training::{RangeTestError, TrainRunError};
use crate::event::Event;
use crate::report::curves;
pub use extend::extend;
pub(crate) use log::log;
use phases::{Trained, Training};
pub use range_test::{LearningRates, RangeTestRequest, find_learning_rate};
use start::Start;
pub(crate) use start::of_run;

/// Where and on what to train.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TrainRequest {
    /// The folder below which run directories are made.
    pub runs: PathBuf,
    /// The device.
    pub device: Device,
    /// Whether runs get an event file for TensorBoard. One that has it keeps it when it is resumed.
    pub tensorboard: bool,
}

impl Default for TrainRequest {
    /// On the CPU, into a folder below `runs`.
    fn default() -> Self {
        Self::new("runs", Device::cpu())
    }
}

impl TrainRequest {
    /// Trains on a device, into a folder below `runs`.
    pub fn new(runs: impl Into<PathBuf>, device: Device) -> Self {
        Self {
            runs: runs.into(),
            device,
            tensorboard: false,
        }
    }
}

/// A training that finished or was cancelled.
#[derive(Debug)]
pub struct TrainOutcome {
    /// The resolved recipe.
    pub recipe: Recipe,
    /// The run directory.
    pub run: RunDir,
    /// Whether the training finished; if not, it was cancelled or paused, and can be resumed.
    pub finished: bool,
    /// Share of validation images whose nearest training image, by the features of a backbone from a
    /// file, is of their class.
    pub nearest_neighbor: Option<f64>,
    /// Number of images that it trained on.
    pub(crate) train_images: usize,
    /// Keeps other processes out of the run.
    pub(crate) lock: Lock,
}

impl TrainOutcome {
    /// Returns what came of a training that finished earlier.
    pub(crate) fn of_finished(run: RunDir, context: &Context<'_>) -> Result<Self> {
        let lock = run.lock()?;
        let recipe = run.recipe(kiln_trainer::bases())?;
        Ok(Self {
            train_images: dataset::splits(&recipe, context)?.train.len(),
            recipe,
            run,
            finished: true,
            nearest_neighbor: None,
            lock,
        })
    }
}

/// Trains a recipe into a new run directory.
///
/// # Errors
///
/// If the dataset cannot be loaded or does not have as many classes as the model, if pretrained
/// weights do not fit, if the run directory cannot be written, or if the loss is not finite.
pub fn train(
    recipe: Recipe,
    request: &TrainRequest,
    context: &Context<'_>,
) -> Result<TrainOutcome> {
    train_until(recipe, request, None, context)
}

/// Trains a recipe as [`train`] does, until it has so many epochs: resumed, it ends as it would have without a
/// pause, bit for bit.
pub(crate) fn train_until(
    recipe: Recipe,
    request: &TrainRequest,
    pause_after: Option<usize>,
    context: &Context<'_>,
) -> Result<TrainOutcome> {
    let device = &device_of(&recipe, &request.device)?;
    let backbone = backbone(&recipe, context)?;
    let splits = dataset::splits(&recipe, context)?;
    let start = Start::first(&recipe, backbone.as_ref(), context)?;
    let environment = environment(&recipe, device, context)?;
    let (run, lock) = RunDir::create(&request.runs, &recipe)?;
    if let Some(initial) = &start.initial {
        run.write_initial(initial)?;
    }
    describe(&run, &environment, &splits)?;
    let (finished, nearest_neighbor) = Training {
        recipe: &recipe,
        splits: &splits,
        run: Some(&run),
        device,
        tensorboard: request.tensorboard,
        backbone: backbone.as_ref(),
        pause_after,
        context,
    }
    .run_to_end(&run, &start)?;
    Ok(TrainOutcome {
        recipe,
        run,
        finished,
        nearest_neighbor,
        train_images: splits.train.len(),
        lock,
    })
}

/// Resumes a training after its last whole epoch. It ends with the same weights as if it had not
/// been interrupted, bit for bit, on the same device with as many threads.
///
/// # Errors
///
/// If the run was trained on other data, or for one of the reasons of [`train`]. Of the request, the folder for runs
/// is of no use here.
pub fn resume(run: RunDir, request: &TrainRequest, context: &Context<'_>) -> Result<TrainOutcome> {
    resume_until(run, request, None, context)
}

/// Resumes a training as [`resume`] does, until it has so many epochs.
pub(crate) fn resume_until(
    run: RunDir,
    request: &TrainRequest,
    pause_after: Option<usize>,
    context: &Context<'_>,
) -> Result<TrainOutcome> {
    let lock = run.lock()?;
    resume_locked(run, lock, request, pause_after, context)
}

/// Resumes the training of a run that is this process's.
fn resume_locked(
    run: RunDir,
    lock: Lock,
    request: &TrainRequest,
    pause_after: Option<usize>,
    context: &Context<'_>,
) -> Result<TrainOutcome> {
    let recipe = run.recipe(kiln_trainer::bases())?;
    let device = &device_of(&recipe, &request.device)?;
    let backbone = backbone(&recipe, context)?;
    let splits = dataset::splits(&recipe, context)?;
    let now = environment(&recipe, device, context)?;
    let before = match run.state() {
        // It may have been interrupted before it was described, and has nothing to lose.
        RunState::Begun => {
            describe(&run, &now, &splits)?;
            now.clone()
        }
        RunState::Trained => run.environment()?,
    };
    if before.data != now.data {
        let run = run.path().to_path_buf();
        return Err(TrainRunError::OtherData { run }.into());
    }
    if (before.threads, &before.device) != (now.threads, &now.device) {
        context.emit(&Event::EnvironmentChanged {
            before: &before,
            now: &now,
        });
    }
    let start = Start::of(&run, &recipe, backbone.as_ref(), context)?;
    let (finished, nearest_neighbor) = Training {
        recipe: &recipe,
        splits: &splits,
        run: Some(&run),
        device,
        tensorboard: request.tensorboard,
        backbone: backbone.as_ref(),
        pause_after,
        context,
    }
    .run_to_end(&run, &start)?;
    Ok(TrainOutcome {
        recipe,
        run,
        finished,
        nearest_neighbor,
        train_images: splits.train.len(),
        lock,
    })
}

/// The device as the recipe trains on it.
pub(crate) fn device_of(recipe: &Recipe, device: &Device) -> Result<Device> {
    Ok(device.clone().with_precision(recipe.training.precision)?)
}

/// Checks that a backbone that is read from its file can be trained with.
pub(crate) fn check_backbone(recipe: &Recipe, context: &Context<'_>) -> Result<()> {
    backbone(recipe, context).map(|_| ())
}

/// Loads a backbone that is read from its file.
fn backbone(recipe: &Recipe, context: &Context<'_>) -> Result<Option<BackboneFile>> {
    let backbone = BackboneFile::open(recipe, context)?;
    let frozen = backbone.as_ref().and_then(BackboneFile::frozen);
    if frozen.is_some() && recipe.images_change_every_epoch() {
        return Err(BackboneError::Augmentation.into());
    }
    Ok(backbone)
}

/// Writes what the run is made with and what its classes are.
fn describe(run: &RunDir, environment: &Environment, splits: &Splits) -> Result<()> {
    run.write_json(RunFile::Environment, environment)?;
    run.write_json(RunFile::Labels, &splits.train.dataset().classes())?;
    Ok(())
}

impl Training<'_> {
    /// Trains to the end and writes the results. Returns whether it got there, and the
    /// nearest-neighbor accuracy.
    fn run_to_end(&self, run: &RunDir, from: &Start) -> Result<(bool, Option<f64>)> {
        let context = self.context;
        self.announce(run, from);
        // A process that was killed may have left them without the last epoch.
        self.log(run, &from.history)?;
        let start = Instant::now();
        let Trained {
            weights,
            history,
            finished,
            nearest_neighbor,
        } = self.run(run, from)?;
        if !history.epochs.is_empty() {
            run.write_weights(&weights)?;
            let (epochs, best) = curves(&history);
            let plot = plot_curves(&epochs, best)?.to_svg();
            run.write(RunFile::Curves, plot.as_bytes())?;
        }
        let epochs_done = history.epochs.len();
        if !finished && !context.cancel.is_cancelled() && self.is_paused_after(epochs_done) {
            context.emit(&Event::TrainingPaused {
                epochs_done,
                epochs: self.recipe.training.epochs(),
            });
        } else if !finished {
            context.emit(&Event::TrainingStopped {
                run: run.path(),
                epochs_done,
            });
        } else if let Some(best) = history.best() {
            context.emit(&Event::TrainingFinished {
                seconds: start.elapsed().as_secs_f64(),
                best,
            });
        }
        Ok((finished, nearest_neighbor))
    }

    fn announce(&self, run: &RunDir, from: &Start) {
        let Self {
            recipe,
            splits,
            device,
            context,
            ..
        } = *self;
        let validates_on_test = match recipe.data.validation {
            Validation::Subset(ValidationSubset::Test) => true,
            Validation::Split(_)
            | Validation::Subset(ValidationSubset::Val | ValidationSubset::Auto) => false,
        };
        context.emit(&Event::TrainingStarted {
            run: run.path(),
            train_images: splits.train.len(),
            validation_images: splits.validation.len(),
            validates_on_test,
            parameters: recipe.model().counts(),
            device,
        });
        if from.resumed {
            context.emit(&Event::TrainingResumed {
                epochs_done: from.history.epochs.len(),
                epochs: recipe.training.epochs(),
            });
        }
    }
}

/// Describes the surroundings that a training of a recipe has now.
pub(crate) fn environment(
    recipe: &Recipe,
    device: &Device,
    context: &Context<'_>,
) -> Result<Environment> {
    Ok(Environment {
        kiln: kiln_util::VERSION.into(),
        platform: kiln_util::platform(),
        device: device_of(recipe, device)?.to_string(),
        threads: rayon::current_num_threads(),
        seed: recipe.training.seed,
        data: dataset::checksums(&recipe.data.dataset, context)?,
        split_rule: recipe.data.split_rule,
    })
}
