//! What can be wrong with metadata.

use std::fmt;

use crate::hint::Hint;

/// Metadata that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// The file was written by a newer kiln.
    #[error("the model's metadata has format {found}, this kiln reads up to {supported}")]
    Newer {
        /// Format found.
        found: u32,
        /// Newest format that can be read.
        supported: u32,
    },
    /// A key holds what it must not.
    #[error("metadata key `{key}`: {reason}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl MetadataError {
    /// Returns what can be done about it.
    pub const fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::Newer { .. } => Hint::Update,
            Self::Value { .. } => Hint::CorrectMetadata,
        })
    }

    pub(super) fn value(key: &'static str, reason: impl fmt::Display) -> Self {
        Self::Value {
            key,
            reason: reason.to_string(),
        }
    }
}
