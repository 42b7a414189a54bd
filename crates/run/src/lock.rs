//! One process at a time in a folder.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::RunError;

/// Name of the file in the folder that is locked.
const NAME: &str = ".lock";

/// Held while a process writes to a folder; the system lets go of it when the process ends, however it does.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Of a folder that exists. Where the file system knows no locks, nothing is locked.
    pub fn of(folder: &Path) -> Result<Self, RunError> {
        let path = folder.join(NAME);
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(|source| RunError::Write { path, source })?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(RunError::Locked { path: folder.into() }),
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { _file: file }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_once_and_free_again_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::of(folder.path()).unwrap();
        let message = Lock::of(folder.path()).unwrap_err().to_string();
        assert!(message.contains("another kiln is at work in"), "{message}");
        drop(lock);
        Lock::of(folder.path()).unwrap();
    }
}
