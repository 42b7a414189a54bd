//! What can go wrong with files of features.

use std::io;
use std::path::{Path, PathBuf};

/// A file of features that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {reason}. Check that the folder is writable and the disk has room", path.display())]
pub struct FeatureError {
    /// What was tried.
    action: &'static str,
    /// The file.
    path: PathBuf,
    /// What the operating system says.
    reason: io::Error,
}

impl FeatureError {
    pub(super) fn io(action: &'static str, path: &Path, reason: io::Error) -> Self {
        Self {
            action,
            path: path.into(),
            reason,
        }
    }
}
