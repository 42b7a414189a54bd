//! From where a training begins or is resumed.

use kiln_model::Recipe;
use kiln_run::{History, Progress, RunDir, RunFile, Weights};
use kiln_trainer::{Snapshot, initial_weights};

use super::backbone;
use crate::context::Context;
use crate::error::Result;

/// From where a training begins or is resumed.
pub struct Start {
    /// Weights of the whole model, the best so far.
    pub weights: Weights,
    /// Those of them that were trained.
    pub trained: Weights,
    pub history: History,
    /// The phase, from 0.
    pub phase: usize,
    /// Number of epochs of that phase that are done.
    pub epochs: usize,
    /// Weights and optimizer after them.
    pub snapshot: Option<Snapshot>,
}

impl Start {
    /// From the beginning.
    pub fn first(recipe: &Recipe, context: &Context<'_>) -> Result<Self> {
        let mut weights = initial_weights(recipe.model(), recipe.training.seed);
        if let Some(pretrained) = &recipe.backbone {
            weights.0.extend(backbone::weights(pretrained, context)?.0);
        }
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
    pub fn of(run: &RunDir, recipe: &Recipe, context: &Context<'_>) -> Result<Self> {
        let mut start = Self::first(recipe, context)?;
        let Some(checkpoint) = run.checkpoint()? else {
            return Ok(start);
        };
        if run.file(RunFile::BestCheckpoint).exists() {
            start.trained = run.weights(RunFile::BestCheckpoint)?;
        }
        start.weights.0.extend(start.trained.0.clone());
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
