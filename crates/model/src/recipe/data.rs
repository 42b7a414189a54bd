//! `[data]`: what is trained on.

use std::fmt;

use serde::Serialize;

/// `[data]`: what is trained on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Data {
    /// The data set.
    #[serde(flatten)]
    pub dataset: DataSource,
    /// Which images the validation figures come from.
    #[serde(flatten)]
    pub validation: Validation,
    /// The share of the images that is set aside for testing, drawn with the seed, the same share
    /// of each class; without it, the data set's own test images, or
    /// [`DEFAULT_SPLIT`](Self::DEFAULT_SPLIT) where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_split: Option<f64>,
    /// At most this many training images (before the split), drawn with the seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// At most this many test images, drawn with the seed; for trying a recipe out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_limit: Option<usize>,
}

impl Data {
    /// The share that is set aside for validation, and for testing, where nothing else is said.
    pub const DEFAULT_SPLIT: f64 = 0.1;
}

/// Where images come from. Paths are relative to the working directory, as that of a backbone's
/// weights is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum DataSource {
    /// `dataset = "mnist"`.
    #[serde(rename = "dataset")]
    Named(DatasetName),
    /// `folder = "PATH"`: a folder of images for each class, in `PATH` or in `PATH/train`,
    /// `PATH/val` and `PATH/test`.
    #[serde(rename = "folder")]
    Folder(String),
    /// `csv = "PATH"`: a list with the columns `path`, relative to the list, and `label`.
    #[serde(rename = "csv")]
    Csv(String),
}

impl DataSource {
    /// Number of classes, where it is known without looking at the files.
    pub const fn classes(&self) -> Option<usize> {
        match self {
            Self::Named(name) => Some(name.classes()),
            Self::Folder(_) | Self::Csv(_) => None,
        }
    }

    /// The name, or the path as written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Named(name) => name.as_str(),
            Self::Folder(path) | Self::Csv(path) => path,
        }
    }
}

impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A data set that kiln knows by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DatasetName {
    /// Handwritten digits, 28x28 grey, 60,000 for training and 10,000 for testing.
    Mnist,
}

impl DatasetName {
    /// Number of classes.
    pub const fn classes(self) -> usize {
        match self {
            Self::Mnist => 10,
        }
    }

    /// As written in a recipe and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
        }
    }
}

/// Where validation images come from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum Validation {
    /// `validation_split = 0.1`: this share of the training images, drawn with the seed, the same
    /// share of each class.
    #[serde(rename = "validation_split")]
    Split(f64),
    /// `validation = "test"` and others: a subset of the data set.
    #[serde(rename = "validation")]
    Subset(ValidationSubset),
}

/// A ready-made subset to validate on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ValidationSubset {
    /// The data set's test images, as many reports do. The best epoch is then chosen on the test
    /// set, which flatters the test figures.
    Test,
    /// The data set's own validation images, such as those in a folder `val`.
    Val,
    /// [`Val`](Self::Val) where the data set has such images, else [`Data::DEFAULT_SPLIT`] of the
    /// training images: what counts for a folder unless told otherwise.
    Auto,
}
