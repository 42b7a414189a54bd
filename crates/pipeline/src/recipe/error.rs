//! Recipe files that cannot be read.

use std::path::PathBuf;

use crate::hint::Hint;

/// A recipe file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeFileError {
    /// Reading failed.
    #[error("cannot read the recipe {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is not text.
    #[error("the recipe {} is not UTF-8 text: recipes are TOML files", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
}

impl RecipeFileError {
    /// Returns what to do about the error.
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::Read { .. } => Hint::RecipesInModels,
            Self::NotText { .. } => Hint::CheckPath,
        })
    }
}
