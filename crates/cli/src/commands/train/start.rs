//! From where a training goes on.

use kiln_model::Recipe;
use kiln_run::{History, Progress, Resumption, RunDir, Weights};
use kiln_trainer::{Snapshot, initial_weights};

use super::backbone;
use crate::commands::Context;

/// From where a training goes on.
pub struct Start {
    /// The whole model's, the best so far.
    pub weights: Weights,
    /// Those of them that were trained.
    pub trained: Weights,
    pub history: History,
    /// The phase, counted from 0,
    pub phase: usize,
    /// how many of its epochs are done,
    pub epochs: usize,
    /// and where it stood after them.
    pub snapshot: Option<Snapshot>,
}

/// The weights that training begins with: a backbone's from its file, the others drawn.
pub fn initial(recipe: &Recipe, context: &Context<'_>) -> anyhow::Result<Weights> {
    let mut weights = initial_weights(recipe.model(), recipe.training.seed);
    if let Some(pretrained) = &recipe.backbone {
        weights.extend(backbone::weights(pretrained, &context.assets)?);
    }
    Ok(weights)
}

impl Start {
    /// From the beginning.
    pub fn first(recipe: &Recipe, context: &Context<'_>) -> anyhow::Result<Self> {
        let weights = initial(recipe, context)?;
        let history = History::new(recipe.training.monitor);
        Ok(Self {
            weights,
            trained: Weights::default(),
            history,
            phase: 0,
            epochs: 0,
            snapshot: None,
        })
    }

    /// From the end of a run's last whole epoch.
    pub fn of(run: &RunDir, recipe: &Recipe, context: &Context<'_>) -> anyhow::Result<Self> {
        let mut start = Self::first(recipe, context)?;
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
        (start.phase, start.epochs) = (phase, epochs);
        start.snapshot = Some(Snapshot {
            weights: checkpoint.weights,
            optimizer: checkpoint.optimizer,
        });
        Ok(start)
    }
}
