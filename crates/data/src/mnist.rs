//! MNIST: handwritten digits, 28 by 28, grey.

use std::path::{Path, PathBuf};

use crate::{DataError, Dataset};

/// Which part of a data set that comes in two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subset {
    /// For training and validation; 60,000 images in MNIST.
    Train,
    /// For the final measurement; 10,000 images in MNIST.
    Test,
}

impl Subset {
    /// The name: "train" or "test".
    pub const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }

    /// How the names of MNIST's files begin.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "t10k",
        }
    }
}

/// Reads MNIST from its files in `folder`: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and
/// the two that begin with `t10k`, plain or with `.gz`.
///
/// The classes are "0" to "9". The number and size of the images are as the files say, so excerpts
/// work too.
pub fn mnist(folder: &Path, subset: Subset) -> Result<Dataset, DataError> {
    let images = find(folder, &format!("{}-images-idx3-ubyte", subset.prefix()))?;
    let labels = find(folder, &format!("{}-labels-idx1-ubyte", subset.prefix()))?;
    let classes = (0..10).map(|digit| digit.to_string()).collect();
    Dataset::from_idx(
        format!("mnist:{}", subset.name()),
        &images,
        &labels,
        classes,
    )
}

/// The file of this name, or the compressed one.
fn find(folder: &Path, name: &str) -> Result<PathBuf, DataError> {
    [folder.join(name), folder.join(format!("{name}.gz"))]
        .into_iter()
        .find(|path| path.exists())
        .ok_or_else(|| DataError::Missing {
            folder: folder.into(),
            name: name.into(),
        })
}
