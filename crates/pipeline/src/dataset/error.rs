//! Datasets that cannot be used, or are not there.

use crate::hint::Hint;

/// A dataset that does not fit what was asked of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// The recipe splits off validation images of a dataset that has some of its own.
    #[error("`{dataset}` has validation images of its own, and `data.validation_split` is set")]
    OwnValidation {
        /// The dataset.
        dataset: String,
    },
    /// The recipe validates on a subset that the dataset does not have.
    #[error("`{dataset}` has no folder `val` beside `train`")]
    NoValidation {
        /// The dataset.
        dataset: String,
    },
    /// The recipe splits off test images of a dataset that has some of its own.
    #[error("`{dataset}` has test images of its own, and `data.test_split` is set")]
    OwnTest {
        /// The dataset.
        dataset: String,
    },
    /// No image is left for a subset.
    #[error("there are no {subset} images in `{dataset}`")]
    Empty {
        /// The dataset.
        dataset: String,
        /// The subset: training, validation or test.
        subset: &'static str,
    },
    /// A class has no image to train on.
    #[error(
        "class `{class}` of `{dataset}` has no training image: expected at least one for each class"
    )]
    EmptyClass {
        /// The dataset.
        dataset: String,
        /// The class.
        class: String,
    },
    /// No dataset has this name, and nothing lies at this path.
    #[error(
        "unknown dataset `{name}`: expected mnist:test, mnist:train, or the path of a folder of images or \
         a CSV file that exists"
    )]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The dataset does not have this subset.
    #[error("`{dataset}` has no subset `{subset}`: expected {dataset}:test or {dataset}:train")]
    NoSubset {
        /// The dataset.
        dataset: String,
        /// What was asked for.
        subset: String,
    },
    /// The model does not have as many classes as the dataset.
    #[error("{problem}")]
    ClassCount {
        /// Expected and found.
        problem: String,
    },
}

impl DatasetError {
    /// Returns what to do about the error.
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::OwnValidation { .. } => Hint::LeaveOutKey {
                key: "data.validation_split",
                or: "move the images away",
            },
            Self::NoValidation { .. } => Hint::LeaveOutKey {
                key: "data.validation",
                or: "set `data.validation_split`",
            },
            Self::OwnTest { .. } => Hint::LeaveOutKey {
                key: "data.test_split",
                or: "move the images away",
            },
            Self::Empty { .. } => Hint::AddImages,
            Self::EmptyClass { .. } => Hint::AddImagesOrRemoveClass,
            Self::Unknown { .. } | Self::NoSubset { .. } | Self::ClassCount { .. } => return None,
        })
    }
}

/// A dataset that is not on the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// An asset that could be fetched.
    Asset {
        /// Its name.
        name: &'static str,
    },
    /// A folder or a list.
    Path {
        /// The path as written.
        path: String,
    },
}

impl Missing {
    /// Returns the asset's name or the path.
    pub fn name(&self) -> &str {
        match self {
            Self::Asset { name } => name,
            Self::Path { path } => path,
        }
    }
}
