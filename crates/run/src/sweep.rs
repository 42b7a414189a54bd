//! The folder of a sweep: one run directory per combination, and what compares them.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use kiln_util::{FileError, write_atomically};

use crate::{RunError, json};

/// The files of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepFile {
    /// The combinations, and which run is whose.
    Record,
    /// One line per run.
    Results,
    /// The comparison as a page.
    Report,
}

impl SweepFile {
    /// Path within the sweep's folder.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Record => "sweep.json",
            Self::Results => "results.csv",
            Self::Report => "report.html",
        }
    }
}

/// A sweep's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepDir {
    path: PathBuf,
}

impl SweepDir {
    /// The folder `<root>/<recipe's name>-sweep`, made if it is not there: a sweep goes on where it
    /// stopped.
    pub fn of(root: &Path, recipe: &str) -> Result<Self, RunError> {
        let path = root.join(format!("{recipe}-sweep"));
        match std::fs::create_dir_all(&path) {
            Ok(()) => Ok(Self { path }),
            Err(source) => Err(FileError::Write { path, source }.into()),
        }
    }

    /// Opens one that exists.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        if Self::is_one(path) {
            Ok(Self { path: path.into() })
        } else {
            Err(RunError::NotASweep {
                path: path.into(),
                missing: SweepFile::Record.name(),
            })
        }
    }

    /// Whether a folder is a sweep's.
    pub fn is_one(path: &Path) -> bool {
        path.join(SweepFile::Record.name()).is_file()
    }

    /// The folder, which holds the run directories too.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a file of the sweep is or will be.
    pub fn file(&self, file: SweepFile) -> PathBuf {
        self.path.join(file.name())
    }

    /// Writes a file whole.
    pub fn write(&self, file: SweepFile, bytes: &[u8]) -> Result<(), RunError> {
        Ok(write_atomically(&self.file(file), bytes)?)
    }

    /// Writes the record.
    pub fn write_record(&self, record: &impl Serialize) -> Result<(), RunError> {
        json::write(&self.file(SweepFile::Record), record)
    }

    /// Reads the record.
    pub fn record<T: DeserializeOwned>(&self) -> Result<T, RunError> {
        json::read(&self.file(SweepFile::Record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
