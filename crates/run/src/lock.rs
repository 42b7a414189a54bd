//! One process at a time in a folder.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use crate::RunError;

/// Held while a process writes to a folder; the system lets go of it when the process ends, however
/// it does.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Of a folder that exists. Where the file system knows no locks, nothing is locked.
    pub fn of(folder: &Path) -> Result<Self, RunError> {
        let file = open(folder).map_err(|source| RunError::Write {
            path: folder.into(),
            source,
        })?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(RunError::Locked {
                path: folder.into(),
            }),
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { _file: file }),
        }
    }
}

/// What is locked: the folder itself, so that nothing is left in it.
#[cfg(unix)]
fn open(folder: &Path) -> io::Result<File> {
    File::open(folder)
}

/// What is locked: a file in the folder, since folders cannot be.
#[cfg(not(unix))]
fn open(folder: &Path) -> io::Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(folder.join(".lock"))
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
