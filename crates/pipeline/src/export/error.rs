//! Runs that cannot be exported.

use std::path::PathBuf;

use crate::dataset::error::Missing;
use crate::hint::Hint;

/// A run that cannot be exported as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExportRunError {
    /// The run has no weights: its training did not finish an epoch.
    #[error("{} has no weights: its training did not finish the first epoch", run.display())]
    NoWeights {
        /// The run directory.
        run: PathBuf,
    },
    /// The file's name is that of another format.
    #[error("`{}` does not end in .onnx, and would be an ONNX file", path.display())]
    Ending {
        /// The file.
        path: PathBuf,
    },
    /// Burn computes scores that are not numbers.
    #[error("Burn computes scores that are not numbers: the weights are unusable")]
    NotFinite,
    /// Only the head was asked for, and no layer is frozen.
    #[error("no layer of `{recipe}` is frozen: there is no head to export alone")]
    NoFrozenPrefix {
        /// The recipe's name.
        recipe: String,
    },
    /// The file in the run has golden vectors, and those of the new one cannot be made.
    #[error(
        "{} has golden vectors, which cannot be made again without the dataset {}",
        path.display(), missing.name()
    )]
    GoldenLost {
        /// The file.
        path: PathBuf,
        /// What would be needed.
        missing: Missing,
    },
    /// The file in the run has golden vectors, and the new one would have none.
    #[error("{} has golden vectors, and this file would have none", path.display())]
    GoldenReplaced {
        /// The file.
        path: PathBuf,
    },
}

impl ExportRunError {
    /// Returns what to do about the error.
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::NoWeights { run } => Hint::ResumeTraining { run: run.clone() },
            Self::NotFinite => Hint::TrainAgain,
            Self::NoFrozenPrefix { .. } => Hint::WholeExport,
            Self::Ending { .. } => return None,
            Self::GoldenLost {
                missing: Missing::Asset { name },
                ..
            } => Hint::FetchAsset { name },
            Self::GoldenLost { .. } | Self::GoldenReplaced { .. } => Hint::OtherOutput,
        })
    }
}
