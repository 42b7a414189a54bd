//! What a run's files say about it.

mod origin;

use kiln_model::Recipe;
use kiln_run::{Environment, History, RunDir, RunFile};

use crate::commands::MeasuredRecord;
use crate::parity::Parity;

/// A run as its files have it; what was not done yet is absent.
pub struct RunRecord {
    pub run: RunDir,
    pub recipe: Recipe,
    pub environment: Option<Environment>,
    pub history: History,
    /// One per engine, the first being the one whose figures are reported.
    pub evaluations: Vec<MeasuredRecord<'static>>,
    pub parity: Option<Parity>,
}

impl RunRecord {
    /// Reads the files.
    pub fn read(run: RunDir) -> anyhow::Result<Self> {
        let recipe = run.recipe(kiln_trainer::bases())?;
        Ok(Self {
            environment: run.read_json(RunFile::Environment)?,
            history: run.history(recipe.training.monitor)?,
            recipe,
            evaluations: run.read_json(RunFile::Evaluation)?.unwrap_or_default(),
            parity: run.read_json(RunFile::Parity)?,
            run,
        })
    }

    /// Whether it went through the whole flow, and all implementations agreed.
    pub fn is_complete(&self) -> bool {
        self.parity.as_ref().is_some_and(|parity| parity.passed) && !self.evaluations.is_empty()
    }

    /// How long its epochs took, in seconds.
    pub fn seconds(&self) -> f64 {
        self.history.epochs.iter().map(|epoch| epoch.seconds).sum()
    }
}
