//! The figures of a training for other tools, made of the run's own files.

use kiln_model::{OptimizerKind, Recipe};
use kiln_run::{History, LoggedEpoch, RunDir, RunFile, TestFigures, TrainingLog};
use kiln_trainer::phases_of;

use super::phases::Training;
use crate::error::Result;
use crate::evaluate::AnyRecord;

impl Training<'_> {
    /// Writes the figures so far.
    pub(super) fn log(&self, run: &RunDir, history: &History) -> Result<()> {
        let images = self.splits.train.len();
        log(run, self.recipe, history, images, self.tensorboard)
    }
}

/// Writes the figures so far of a run that trains on so many images, and those of the test images once they are
/// there. Whether it is to have an event file matters where it has none yet.
pub fn log(
    run: &RunDir,
    recipe: &Recipe,
    history: &History,
    train_images: usize,
    tensorboard: bool,
) -> Result<()> {
    let evaluations: Vec<AnyRecord<'static>> =
        run.read_json(RunFile::Evaluation)?.unwrap_or_default();
    let test = evaluations.first().zip(history.best());
    let test = test.map(|(measured, best)| TestFigures {
        epoch: best.epoch,
        images: measured.images(),
        loss: measured.loss(),
        accuracy: measured.accuracy(),
        macro_f1: measured.macro_f1(),
        mean_average_precision: measured.mean_average_precision(),
    });
    let log = TrainingLog {
        recipe,
        epochs: epochs(recipe, history, train_images),
        test,
    };
    Ok(run.write_log(&log, tensorboard)?)
}

/// The epochs, each with its phase and the optimizer's steps up to its end.
fn epochs(recipe: &Recipe, history: &History, train_images: usize) -> Vec<LoggedEpoch> {
    let training = &recipe.training;
    let epoch_steps = training.epoch_steps(train_images) as u64;
    let mut steps = 0;
    let phases = phases_of(training, history);
    let epochs = history.epochs.iter().zip(phases);
    let logged = epochs.map(|(&epoch, phase)| {
        let kind = &training.phases[phase].optimizer.kind;
        let has_steps = !matches!(kind, OptimizerKind::Lbfgs(_));
        steps += u64::from(has_steps) * epoch_steps;
        LoggedEpoch {
            phase: phase + 1,
            step: has_steps.then_some(steps),
            epoch,
        }
    });
    logged.collect()
}
