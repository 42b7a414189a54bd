//! From where a training begins or is resumed, and where a backbone's weights come from.

use kiln_model::{Backbone, Recipe};
use kiln_run::{History, Progress, Resumption, RunDir, Weights};
use kiln_trainer::{Snapshot, initial_weights};

use super::initial;
use crate::backbone::{self, BackboneFile};
use crate::context::Context;
use crate::error::Result;

/// From where a training begins or is resumed.
pub struct Start {
    /// Weights of the whole model, the best so far.
    pub weights: Weights,
    /// Those of them that were trained.
    pub trained: Weights,
    /// Those that are another run's.
    pub initial: Option<Weights>,
    pub history: History,
    /// Whether it is resumed.
    pub resumed: bool,
    /// The phase, from 0.
    pub phase: usize,
    /// Number of epochs of that phase that are done.
    pub epochs: usize,
    /// Weights and optimizer after them.
    pub snapshot: Option<Snapshot>,
}

/// Returns the weights that training begins with: a backbone's from its file, those of another run, the
/// others drawn.
fn initial(
    recipe: &Recipe,
    opened: Option<&BackboneFile>,
    of_other_run: Option<&Weights>,
    context: &Context<'_>,
) -> Result<Weights> {
    let mut weights = initial_weights(recipe.model(), recipe.training.seed);
    if let Some(opened) = opened {
        weights.extend(opened.weights(recipe.model())?);
    }
    if let Some(Backbone {
        base,
        weights: file,
        ..
    }) = &recipe.backbone
        && !base.is_file()
    {
        let path = backbone::file(file, context)?;
        weights.extend(kiln_trainer::backbone_weights(base, &path)?);
    }
    weights.extend(of_other_run.cloned().unwrap_or_default());
    Ok(weights)
}

/// Returns the weights that the training of a run begins with, those of unfolded convolutions as they
/// were measured if that was done.
pub(crate) fn of_run(
    run: &RunDir,
    recipe: &Recipe,
    opened: Option<&BackboneFile>,
    context: &Context<'_>,
) -> Result<Weights> {
    let of_other_run = match run.initial()? {
        Some(weights) => Some(weights),
        // Not even begun.
        None => initial::of_other_run(recipe, context)?,
    };
    let mut weights = initial(recipe, opened, of_other_run.as_ref(), context)?;
    if unfolds(recipe) {
        weights.extend(run.unfolded()?.unwrap_or_default());
    }
    Ok(weights)
}

/// Whether a recipe asks for convolutions to be unfolded.
pub(super) fn unfolds(recipe: &Recipe) -> bool {
    recipe.backbone.as_ref().is_some_and(|it| it.unfold)
}

impl Start {
    /// Begins with initial weights.
    pub fn first(
        recipe: &Recipe,
        opened: Option<&BackboneFile>,
        context: &Context<'_>,
    ) -> Result<Self> {
        let of_other_run = initial::of_other_run(recipe, context)?;
        let weights = initial(recipe, opened, of_other_run.as_ref(), context)?;
        Ok(Self {
            initial: of_other_run,
            ..Self::with(recipe, weights)
        })
    }

    /// Begins with these weights.
    fn with(recipe: &Recipe, weights: Weights) -> Self {
        Self {
            weights,
            trained: Weights::default(),
            initial: None,
            history: History::new(recipe.training.monitor),
            resumed: false,
            phase: 0,
            epochs: 0,
            snapshot: None,
        }
    }

    /// Resumes after a run's last whole epoch.
    pub fn of(
        run: &RunDir,
        recipe: &Recipe,
        opened: Option<&BackboneFile>,
        context: &Context<'_>,
    ) -> Result<Self> {
        let mut start = Self {
            resumed: true,
            ..Self::with(recipe, of_run(run, recipe, opened, context)?)
        };
        let Some(Resumption {
            checkpoint, best, ..
        }) = run.resume(recipe.training.monitor)?
        else {
            return Ok(start);
        };
        start.weights.extend(best.clone());
        start.trained = best;
        let Progress {
            phase,
            epochs,
            history,
        } = checkpoint.progress;
        start.history.epochs = history.epochs;
        start.phase = phase;
        start.epochs = epochs;
        start.snapshot = Some(Snapshot {
            weights: checkpoint.weights,
            average: checkpoint.average,
            optimizer: checkpoint.optimizer,
        });
        Ok(start)
    }
}
