//! The folder of a sweep: one run directory per combination, and what compares them.

use std::path::{Path, PathBuf};

use kiln_util::{CancelToken, FileError, Lock, write_atomically};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::RunError;
use crate::directory::{read_json, remove_temporary_files, write_json};

/// The files of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepFile {
    /// Combinations, each with its run.
    Record,
    /// One line per run.
    Results,
    /// The comparison as a page.
    Report,
}

// The words are paths within the sweep's folder.
kiln_util::str_enum!(SweepFile {
    Record = "sweep.json",
    Results = "results.csv",
    Report = "report.html",
});

/// Folder of the files that processes lock when they share a sweep.
const CLAIMS: &str = ".claims";

/// A sweep's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepDir {
    path: PathBuf,
}

impl SweepDir {
    /// Opens the folder `<root>/<recipe's name>-sweep`, and creates it if it is not there: a sweep
    /// resumes where it was interrupted.
    ///
    /// # Errors
    ///
    /// [`RunError::File`] if it cannot be created.
    pub fn of(root: &Path, recipe: &str) -> Result<Self, RunError> {
        let path = root.join(format!("{recipe}-sweep"));
        match std::fs::create_dir_all(&path) {
            Ok(()) => Ok(Self { path }),
            Err(source) => Err(FileError::Write { path, source }.into()),
        }
    }

    /// Opens one that exists.
    ///
    /// # Errors
    ///
    /// [`RunError::NotASweep`] if there is no record.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        if Self::is_one(path) {
            Ok(Self { path: path.into() })
        } else {
            Err(RunError::NotASweep {
                path: path.into(),
                missing: SweepFile::Record.as_str(),
            })
        }
    }

    /// Returns whether a folder is a sweep's.
    pub fn is_one(path: &Path) -> bool {
        path.join(SweepFile::Record.as_str()).is_file()
    }

    /// Locks the sweep to write to it, and removes temporary files that a killed process left.
    ///
    /// # Errors
    ///
    /// [`RunError::File`] if another process has the lock.
    pub fn lock(&self) -> Result<Lock, RunError> {
        let lock = Lock::try_lock(&self.path)?;
        if lock.is_exclusive() {
            remove_temporary_files(&self.path);
        }
        Ok(lock)
    }

    /// Opens the sweep to write to it together with other processes that do so: each claims what it works on.
    ///
    /// # Errors
    ///
    /// [`RunError::File`] if a process has the sweep for itself.
    pub fn share(&self) -> Result<Lock, RunError> {
        let claims = self.path.join(CLAIMS);
        std::fs::create_dir_all(&claims).map_err(|source| FileError::Write {
            path: claims,
            source,
        })?;
        Ok(Lock::try_share(&self.path)?)
    }

    /// Claims something of a shared sweep, by a word for it; nothing if another process has it. A process that ends, however
    /// it does, gives up what it claimed.
    ///
    /// # Errors
    ///
    /// [`RunError::NoLocks`] if the file system has no locks, [`RunError::File`] if nothing can be written.
    pub fn claim(&self, what: &str) -> Result<Option<Lock>, RunError> {
        match Lock::try_lock(&self.path.join(CLAIMS).join(what)) {
            Ok(lock) if lock.is_exclusive() => Ok(Some(lock)),
            Ok(_) => Err(RunError::NoLocks {
                path: self.path.clone(),
            }),
            Err(FileError::Locked { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Claims something as [`claim`](Self::claim) does, and waits while another process has it; nothing if `cancel` ended the
    /// wait.
    ///
    /// # Errors
    ///
    /// As [`claim`](Self::claim).
    pub fn wait_for(&self, what: &str, cancel: &CancelToken) -> Result<Option<Lock>, RunError> {
        Ok(Lock::acquire(
            &self.path.join(CLAIMS).join(what),
            cancel,
            || (),
        )?)
    }

    /// The folder, which holds the run directories too.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns where a file of the sweep is or will be.
    pub fn file(&self, file: SweepFile) -> PathBuf {
        self.path.join(file.as_str())
    }

    /// Writes a file whole.
    ///
    /// # Errors
    ///
    /// [`RunError::File`]; nothing was changed then.
    pub fn write(&self, file: SweepFile, bytes: &[u8]) -> Result<(), RunError> {
        Ok(write_atomically(&self.file(file), bytes)?)
    }

    /// Writes the record.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn write_record(&self, record: &impl Serialize) -> Result<(), RunError> {
        write_json(&self.file(SweepFile::Record), record)
    }

    /// Reads the record.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`] or [`RunError::Content`].
    pub fn record<T: DeserializeOwned>(&self) -> Result<T, RunError> {
        read_json(&self.file(SweepFile::Record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_with_the_lock() {
        let root = tempfile::tempdir().unwrap();
        let sweep = SweepDir::of(root.path(), "small").unwrap();
        let (left, other) = (
            sweep.path().join(".kiln-abc123.tmp"),
            sweep.path().join("notes"),
        );
        for file in [&left, &other] {
            std::fs::write(file, "half").unwrap();
        }
        let lock = sweep.lock().unwrap();
        assert!(!left.exists() && other.exists());
        assert!(sweep.lock().is_err(), "it is locked");
        drop(lock);
    }

    #[test]
    fn what_a_process_claims_is_its_own_until_it_ends() {
        let root = tempfile::tempdir().unwrap();
        let sweep = SweepDir::of(root.path(), "small").unwrap();
        let shared = [(); 2].map(|()| sweep.share().unwrap());
        assert!(sweep.lock().is_err(), "others share it");
        let claim = sweep.claim("1").unwrap().unwrap();
        assert!(sweep.claim("1").unwrap().is_none());
        assert!(sweep.claim("2").unwrap().is_some());
        drop(claim);
        assert!(sweep.wait_for("1", &CancelToken::new()).unwrap().is_some());
        drop(shared);
        let alone = sweep.lock().unwrap();
        assert!(sweep.share().is_err());
        drop(alone);
    }

    #[test]
    fn a_sweep_is_opened_again_where_it_was_made() {
        let root = tempfile::tempdir().unwrap();
        let made = SweepDir::of(&root.path().join("runs"), "small").unwrap();
        let error = SweepDir::open(made.path()).unwrap_err().to_string();
        assert!(
            error.contains("is not a sweep's folder: it has no `sweep.json`"),
            "{error}"
        );
        made.write_record(&vec![1, 2]).unwrap();
        assert_eq!(
            SweepDir::of(&root.path().join("runs"), "small").unwrap(),
            made
        );
        assert_eq!(
            SweepDir::open(made.path())
                .unwrap()
                .record::<Vec<u8>>()
                .unwrap(),
            [1, 2]
        );
        let error = made.record::<String>().unwrap_err().to_string();
        assert!(error.contains("sweep.json: invalid type"), "{error}");
    }
}
