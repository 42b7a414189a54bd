//! Runs that cannot be reported.

use std::path::PathBuf;

use crate::hint::Hint;

/// A run that cannot be reported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReportRunError {
    /// The training did not finish an epoch.
    #[error("{} has no epoch to report: its training did not finish the first", run.display())]
    NoEpoch {
        /// The run directory.
        run: PathBuf,
    },
    /// The predictions are not those of the run's test images.
    #[error("{}: {problem}", path.display())]
    Predictions {
        /// The file of predictions.
        path: PathBuf,
        /// Expected and found.
        problem: String,
    },
}

impl ReportRunError {
    /// Returns what to do about the error.
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::NoEpoch { run } => Hint::ResumeTraining { run: run.clone() },
            Self::Predictions { .. } => Hint::TrainAgain,
        })
    }
}
