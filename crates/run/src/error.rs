//! Errors of run directories and sweeps, and what to do about them.

use std::path::PathBuf;

use crate::WeightsError;

/// A run directory or a file of it that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A file cannot be written, or another process uses the folder; nothing was changed.
    #[error(transparent)]
    File(#[from] kiln_util::FileError),
    /// Reading failed.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The folder is no run directory.
    #[error("{} is not a run directory: it has no `{missing}`", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// The file that every run has.
        missing: &'static str,
    },
    /// The folder of a run that was interrupted before its recipe was written.
    #[error(
        "{} is the folder of a training that was interrupted before it began: it has no `{missing}`",
        path.display()
    )]
    NotBegun {
        /// The folder.
        path: PathBuf,
        /// The file that every run has.
        missing: &'static str,
    },
    /// The folder is no sweep's.
    #[error("{} is not a sweep's folder: it has no `{missing}`", path.display())]
    NotASweep {
        /// The folder.
        path: PathBuf,
        /// The file that every sweep has.
        missing: &'static str,
    },
    /// Processes cannot keep out of one another's way.
    #[error("the file system of {} has no locks, by which processes share a sweep", path.display())]
    NoLocks {
        /// The folder.
        path: PathBuf,
    },
    /// Results are to go into a folder of their own, and this one has others.
    #[error("expected a folder that is not there yet, and `{}` is not empty", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// A malformed file.
    #[error("{}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Expected and found.
        problem: String,
    },
    /// The run's recipe is not valid.
    #[error(transparent)]
    Recipe(#[from] kiln_model::RecipeError),
    /// The weights do not fit.
    #[error("{}: {source}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: WeightsError,
    },
}

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// Name a folder that a training made.
    NameRun,
    /// Name a folder that a sweep made.
    NameSweep,
    /// Train from the recipe again: the folder has nothing to resume, and is used again.
    TrainFromRecipe,
    /// Name another folder.
    OtherFolder,
    /// Restore the file from a copy, or train again.
    RestoreWeights,
    /// Give each process a folder of runs and combinations of its own.
    SweepApart,
}

impl RunError {
    /// Returns what to do about it, where there is more to say than the text does.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::NotARun { .. } => Some(Hint::NameRun),
            Self::NotBegun { .. } => Some(Hint::TrainFromRecipe),
            Self::NotASweep { .. } => Some(Hint::NameSweep),
            Self::NotEmpty { .. } => Some(Hint::OtherFolder),
            Self::NoLocks { .. } => Some(Hint::SweepApart),
            Self::Weights {
                source: WeightsError::Format(_),
                ..
            } => Some(Hint::RestoreWeights),
            Self::Weights { .. }
            | Self::File(_)
            | Self::Read { .. }
            | Self::Content { .. }
            | Self::Recipe(_) => None,
        }
    }
}
