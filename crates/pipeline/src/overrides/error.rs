//! What is specified about a model cannot be used.

use std::io;
use std::path::PathBuf;

use crate::hint::Hint;

/// What is specified about a model cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OverridesError {
    /// A file of labels cannot be read.
    #[error("cannot use the labels `{}`: {source}", path.display())]
    ReadLabels {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file of labels holds something else.
    #[error("cannot use the labels `{}`: {problem}", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// What was expected and found.
        problem: String,
    },
    /// A sidecar cannot be read.
    #[error("cannot read the sidecar {}: {source}", path.display())]
    ReadSidecar {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A sidecar is something else.
    #[error("expected the sidecar {} to be {expected}", path.display())]
    Sidecar {
        /// The file.
        path: PathBuf,
        /// What was expected.
        expected: &'static str,
    },
    /// A key or value that means nothing.
    #[error(transparent)]
    Parse(#[from] kiln_model::RecipeError),
}

impl OverridesError {
    /// Returns what to do about it.
    pub const fn hint(&self) -> Option<Hint> {
        match self {
            Self::ReadLabels { .. } | Self::ReadSidecar { .. } | Self::Sidecar { .. } => {
                Some(Hint::CheckPath)
            }
            Self::Labels { .. } => Some(Hint::CheckFile),
            Self::Parse(_) => None,
        }
    }
}
