//! Runs that cannot be trained.

use std::path::PathBuf;

use crate::hint::Hint;

/// A run that cannot be trained or resumed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrainRunError {
    /// The run was trained on other images.
    #[error("{} was trained on other data: its checksums differ", run.display())]
    OtherData {
        /// The run directory.
        run: PathBuf,
    },
    /// A frozen tensor was changed.
    #[error("tensor `{name}` is frozen, but its checksum changed: this is a bug in kiln")]
    FrozenChanged {
        /// The tensor's name.
        name: String,
    },
}

impl TrainRunError {
    /// Returns what to do about the error.
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::OtherData { .. } => Hint::TrainAgain,
            Self::FrozenChanged { .. } => Hint::ReportBug,
        })
    }
}
