//! A training that goes on, after its last epoch, in another run.

use std::path::Path;

use kiln_model::{Phase, Recipe, Schedule, ScheduleKind};
use kiln_run::RunDir;
use kiln_trainer::is_finished;

use super::{TrainOutcome, TrainRequest, TrainRunError, resume_locked};
use crate::context::Context;
use crate::error::Result;
use crate::event::Event;

/// Goes on with the training of a run in a new run directory beside it, with another number of epochs, another schedule or
/// early stopping in its last phase: it ends as a training whose recipe said so from the beginning would, if its
/// learning rates were the same up to here. The run itself stays as it is.
///
/// # Errors
///
/// [`TrainRunError::NotExtended`] if the changes are of anything else, [`TrainRunError::NothingLeft`] if no epoch is
/// left, and the errors of [`resume`](super::resume).
pub fn extend(
    run: &RunDir,
    overrides: &[String],
    request: &TrainRequest,
    context: &Context<'_>,
) -> Result<TrainOutcome> {
    let before = run.recipe(kiln_trainer::bases())?;
    let recipe = run.recipe_with(kiln_trainer::bases(), overrides)?;
    let path = run.path().to_path_buf();
    let _lock = run.lock()?;
    if !differ_only_in_the_end(&before, &recipe) {
        return Err(TrainRunError::NotExtended { run: path }.into());
    }
    let Some(resumption) = run.resume(recipe.training.monitor)? else {
        return Err(TrainRunError::NoCheckpoint { run: path }.into());
    };
    let progress = resumption.checkpoint.progress;
    if is_finished(&recipe.training, &progress) {
        let epochs = progress.history.epochs.len();
        return Err(TrainRunError::NothingLeft { run: path, epochs }.into());
    }
    let runs = run.path().parent().unwrap_or(Path::new(""));
    let (extended, lock) = run.create_from(runs, &recipe)?;
    let phase = recipe.training.phases.last();
    context.emit(&Event::TrainingExtended {
        run: run.path(),
        epochs_before: before.training.epochs(),
        spans_phase: phase.is_some_and(spans_phase),
        learning_rate: progress.history.epochs.last().map(|it| it.learning_rate),
    });
    resume_locked(extended, lock, request, None, context)
}

/// Whether two recipes differ at most in how the last phase ends.
fn differ_only_in_the_end(before: &Recipe, now: &Recipe) -> bool {
    let without_end = |recipe: &Recipe| {
        let mut fields = (**recipe).clone();
        if let Some(Phase {
            epochs,
            schedule,
            early_stopping,
            ..
        }) = fields.training.phases.last_mut()
        {
            (*epochs, *schedule, *early_stopping) = (1, Schedule::default(), None);
        }
        fields
    };
    without_end(before) == without_end(now)
}

/// Whether the learning rate depends on how many epochs the phase has.
fn spans_phase(phase: &Phase) -> bool {
    match phase.schedule.kind {
        ScheduleKind::Cosine { .. } | ScheduleKind::OneCycle { .. } => true,
        ScheduleKind::Constant
        | ScheduleKind::Step { .. }
        | ScheduleKind::Exponential { .. }
        | ScheduleKind::PiecewiseConstant { .. }
        | ScheduleKind::ReduceOnPlateau { .. } => false,
    }
}
