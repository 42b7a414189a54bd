//! The folder of a learning-rate range test. It holds no weights and is no run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use kiln_util::write_atomically;

use crate::RunError;
use crate::directory::{numbered, write_error};

/// The files of a range test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeTestFile {
    /// One line per step.
    Steps,
    /// Plot of the loss by learning rate, for programs that show pictures.
    Png,
    /// The same plot for pages and for print.
    Svg,
}

// The words are paths within the folder.
kiln_util::str_enum!(RangeTestFile {
    Steps = "learning-rates.csv",
    Png = "learning-rates.png",
    Svg = "learning-rates.svg",
});

/// A range test's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeTestDir {
    path: PathBuf,
}

impl RangeTestDir {
    /// Creates the folder `<root>/<recipe's name>-lr`, or with `-2`, `-3`, … behind it where that exists.
    ///
    /// # Errors
    ///
    /// [`RunError::File`] if it cannot be created.
    pub fn create(root: &Path, recipe: &str) -> Result<Self, RunError> {
        fs::create_dir_all(root).map_err(|source| write_error(root, source))?;
        let mut names = numbered(format!("{recipe}-lr"));
        loop {
            let path = root.join(names.next().unwrap_or_default());
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(write_error(&path, source)),
            }
        }
    }

    /// Creates a folder, or takes one that is empty.
    ///
    /// # Errors
    ///
    /// [`RunError::NotEmpty`] if something is in it, [`RunError::File`] if it cannot be created.
    pub fn at(path: &Path) -> Result<Self, RunError> {
        Self::check(path)?;
        fs::create_dir_all(path).map_err(|source| write_error(path, source))?;
        Ok(Self { path: path.into() })
    }

    /// Checks, before the work, that nothing lies where a folder is to be created.
    ///
    /// # Errors
    ///
    /// [`RunError::NotEmpty`].
    pub fn check(path: &Path) -> Result<(), RunError> {
        let is_empty = || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
        if path.exists() && !is_empty() {
            return Err(RunError::NotEmpty { path: path.into() });
        }
        Ok(())
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns where a file is or will be.
    pub fn file(&self, file: RangeTestFile) -> PathBuf {
        self.path.join(file.as_str())
    }

    /// Writes a file whole.
    ///
    /// # Errors
    ///
    /// [`RunError::File`]; nothing was changed then.
    pub fn write(&self, file: RangeTestFile, bytes: &[u8]) -> Result<(), RunError> {
        Ok(write_atomically(&self.file(file), bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_there_stays_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        let names = [0; 2].map(|_| {
            let made = RangeTestDir::create(&root.path().join("runs"), "small").unwrap();
            made.write(RangeTestFile::Steps, b"step").unwrap();
            made.path().file_name().unwrap().to_owned()
        });
        assert_eq!(names, ["small-lr", "small-lr-2"]);
        let full = root.path().join("runs/small-lr");
        let error = RangeTestDir::at(&full).unwrap_err().to_string();
        assert!(error.contains("is not empty"), "{error}");
        let empty = root.path().join("empty");
        fs::create_dir(&empty).unwrap();
        assert_eq!(RangeTestDir::at(&empty).unwrap().path(), empty);
    }
}
