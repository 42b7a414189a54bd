//! Models that cannot be compared.

use crate::hint::Hint;

/// Models cannot be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// A class that the models call differently.
    #[error("class {class} of the first model is `{first}`, that of the second `{second}`")]
    Class {
        /// Its number.
        class: usize,
        /// Its name by the first model.
        first: String,
        /// Its name by the second model.
        second: String,
    },
    /// Different numbers of classes.
    #[error("the first model has {first} classes, the second {second}")]
    Classes {
        /// Number of the first model's classes.
        first: usize,
        /// Number of the second model's.
        second: usize,
    },
}

impl CompareError {
    /// Returns what to do about it.
    pub const fn hint(&self) -> Option<Hint> {
        match self {
            Self::Class { .. } | Self::Classes { .. } => Some(Hint::SameClasses),
        }
    }
}
