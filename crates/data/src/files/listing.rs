//! Image files that were found, with their labels.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::FilesError;

/// Image files with a label each, not yet read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    pub(super) name: String,
    /// What the files' paths are relative to.
    pub(super) root: PathBuf,
    pub(super) files: Vec<PathBuf>,
    /// One for each file.
    pub(super) labels: Vec<u32>,
    pub(super) classes: Vec<String>,
    pub(super) passed_over: BTreeMap<String, u64>,
}

impl Listing {
    /// The data set's name: its path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of files.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are no files.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The files, relative to the folder that was searched or that the list is in.
    pub fn files(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }

    /// What the files' paths are relative to.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The files with their labels, indices into [`classes`](Self::classes).
    pub fn into_files(self) -> impl ExactSizeIterator<Item = (PathBuf, u32)> {
        self.files.into_iter().zip(self.labels)
    }

    /// The name of each class; sorted, unless they were given.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Files in class folders that are no images by their names: how many of each ending, which is
    /// in small letters without its dot, and empty for names without one. Hidden files do not
    /// count, and a list has none.
    pub const fn passed_over(&self) -> &BTreeMap<String, u64> {
        &self.passed_over
    }

    /// The same files with labels that count these classes, which include all that are in use.
    pub fn with_classes(mut self, classes: &[String]) -> Result<Self, FilesError> {
        let numbers = self.classes.iter().map(|class| {
            let number = classes.iter().position(|known| known == class);
            number
                .map(|number| number as u32)
                .ok_or_else(|| FilesError::UnknownClass {
                    name: self.name.clone(),
                    class: class.clone(),
                    expected: classes.to_vec(),
                })
        });
        let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
        for label in &mut self.labels {
            *label = numbers[*label as usize];
        }
        self.classes = classes.to_vec();
        Ok(self)
    }

    /// That every class has an image, as training needs it.
    pub fn check_classes(&self) -> Result<(), FilesError> {
        let mut used = vec![false; self.classes.len()];
        for &label in &self.labels {
            used[label as usize] = true;
        }
        match self.classes.iter().zip(used).find(|(_, used)| !used) {
            Some((class, _)) => Err(FilesError::EmptyClass {
                name: self.name.clone(),
                class: class.clone(),
            }),
            None => Ok(()),
        }
    }
}
