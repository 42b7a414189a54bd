//! What can go wrong with files.

use std::path::PathBuf;

/// A run directory or a file of it that cannot be used.
#[derive(Debug, thiserror::Error)]
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
    #[error(
        "{} is not a run directory: it has no `{missing}`. Name a folder that `kiln train` made, such as \
         runs/quickstart",
        path.display()
    )]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// The file that every run has.
        missing: &'static str,
    },
    /// The folder is no sweep's.
    #[error(
        "{} is not a sweep's folder: it has no `{missing}`. Name a folder that `kiln sweep` made, such as \
         runs/report-sweep",
        path.display()
    )]
    NotASweep {
        /// The folder.
        path: PathBuf,
        /// The file that every sweep has.
        missing: &'static str,
    },
    /// A file that does not hold what it should.
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
        source: crate::WeightsError,
    },
}
