//! What is wrong with files of records.

use std::io;
use std::path::{Path, PathBuf};

use kiln_store::{Cure, StoreError};
use kiln_util::{Thousands, first_few};

use crate::source::owned;

/// Most names that a message lists.
const NAMED: usize = 8;

/// A file of records, or several, that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}", message(path, problem))]
pub struct RecordsError {
    /// The file, folder or pattern.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(io::Error),
    /// The store or web server that it is on does not give it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// URLs of two files that differ in what is never shown.
    #[error("two URLs differ in their queries alone, and so would the names of their images")]
    SameUrl,
    /// Its bytes contradict one another or end too soon.
    #[error("the file is damaged: {0}")]
    Damaged(&'static str),
    /// It asks for more memory than there is to be had, in bytes.
    #[error("the file is damaged, or too large: a part of it asks for {} bytes", Thousands(*.0))]
    Memory(u64),
    /// A page of compressed data that cannot be unpacked.
    #[error("the file is damaged: {codec} data cannot be unpacked: {reason}")]
    Unpack {
        /// The codec.
        codec: &'static str,
        /// What it says.
        reason: String,
    },
    /// Something that the format has and this reader does not.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// No column, or no single one, holds images.
    #[error(
        "expected {expected} of images: the struct `image{{bytes, path}}` or binary data; the columns are {}",
        first_few(columns.iter().map(|column| format!("`{column}`")), NAMED)
    )]
    ImageColumn {
        /// How many were expected, such as "one column".
        expected: &'static str,
        /// Names of the columns.
        columns: Vec<String>,
    },
    /// A column that is not what is expected of it.
    #[error("the column `{column}` holds {found}, expected {expected}")]
    Column {
        /// The name of the column.
        column: String,
        /// What it holds.
        found: String,
        /// What is expected.
        expected: &'static str,
    },
    /// No column, or no file beside the images, holds labels.
    #[error("its images have no labels: expected {expected}; it has {}", first_few(found.iter().map(|name| format!("`{name}`")), NAMED))]
    NoLabels {
        /// What is looked for.
        expected: &'static str,
        /// What there is: columns, or names in a tar file.
        found: Vec<String>,
    },
    /// An image without a label where each needs one.
    #[error("{record} has no label")]
    NoLabel {
        /// The row or the name of the image.
        record: String,
    },
    /// A label that is no index of the names of classes.
    #[error("{record} has the label {label}: expected 0 to {}", classes.saturating_sub(1))]
    LabelRange {
        /// The row or the name of the image.
        record: String,
        /// The label.
        label: i64,
        /// Number of classes that have names.
        classes: usize,
    },
    /// A label that cannot be understood.
    #[error("{record} has a label that is {found}: expected the name or the number of a class")]
    LabelText {
        /// The row or the name of the image.
        record: String,
        /// What it is.
        found: String,
    },
    /// Files with other names of classes than the first of them has.
    #[error("its classes are {}, those of `{}` are {}", named(found), first.display(), named(expected))]
    Classes {
        /// The first file.
        first: PathBuf,
        /// The classes of that.
        expected: Vec<String>,
        /// The classes of this.
        found: Vec<String>,
    },
    /// Files of two formats.
    #[error("it holds {found}, and `{}` holds {expected}: expected files of one format", first.display())]
    Formats {
        /// The first file.
        first: PathBuf,
        /// What the first file is.
        expected: &'static str,
        /// What this is.
        found: &'static str,
    },
    /// A folder or a pattern without a file of a known format.
    #[error(
        "expected Parquet files (.parquet), tar files (.tar), CIFAR's (.bin) or IDX files, found none"
    )]
    NoFiles,
    /// Subsets, none of which is to train on.
    #[error("expected files of training images, such as `train-00000.parquet`, found {}", first_few(found.iter().map(|name| format!("`{name}`")), NAMED))]
    NoTrain {
        /// Names of files.
        found: Vec<String>,
    },
    /// A file without an image.
    #[error("it holds no image")]
    Empty,
}

/// The problem with the path of the file, which messages of stores have already.
fn message(path: &Path, problem: &Problem) -> String {
    match problem {
        Problem::Store(error) => error.to_string(),
        other => format!("`{}`: {other}", path.display()),
    }
}

impl RecordsError {
    /// Returns what to do about a store's error.
    pub fn cure(&self) -> Option<Cure> {
        match &self.problem {
            Problem::Store(error) => error.cure(),
            _ => None,
        }
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        match error.downcast::<StoreError>() {
            Ok(error) => Self::Store(error),
            Err(error) => Self::Read(error),
        }
    }
}

/// The first classes.
fn named(classes: &[String]) -> String {
    first_few(classes.iter().cloned(), NAMED)
}

impl Problem {
    /// Adds the file.
    pub(crate) fn of(self, path: &Path) -> RecordsError {
        RecordsError {
            path: owned(path),
            problem: self,
        }
    }
}
