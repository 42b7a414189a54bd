//! What can be wrong with data.

use std::io;
use std::path::PathBuf;

use kiln_preprocess::PreprocessError;

use crate::{FilesError, IdxError};
use kiln_util::Thousands;

/// Data that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// An IDX file cannot be read.
    #[error(transparent)]
    Idx(#[from] IdxError),
    /// Files do not make a data set.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// A file of a data set is in its folder neither plain nor compressed.
    #[error(
        "`{}` is missing: expected it, or `{name}.gz`, in that folder: fetch the data set or check the folder",
        folder.join(name).display()
    )]
    Missing {
        /// The folder looked in.
        folder: PathBuf,
        /// The file's name without `.gz`.
        name: String,
    },
    /// An IDX file has another number of axes than its role asks for.
    #[error(
        "`{}` has axes {found:?}: expected {expected}: check that images and labels are not swapped",
        path.display()
    )]
    Axes {
        /// The file.
        path: PathBuf,
        /// What was expected.
        expected: &'static str,
        /// The length of each axis found.
        found: Vec<u32>,
    },
    /// There are not as many labels as images.
    #[error(
        "{place} has {} images and {} labels: expected one label per image: use files that belong together",
        Thousands(*images), Thousands(*labels)
    )]
    Counts {
        /// The files or the data set.
        place: String,
        /// Number of images.
        images: u64,
        /// Number of labels.
        labels: u64,
    },
    /// A label without a class.
    #[error(
        "{place} has label {found} for image {index}: expected 0 to {}: check the labels",
        classes.saturating_sub(1)
    )]
    Label {
        /// The file or the data set.
        place: String,
        /// Which image, from 0.
        index: usize,
        /// Its label.
        found: u32,
        /// Number of classes.
        classes: usize,
    },
    /// A data set without images, without classes, or with more images than can be numbered.
    #[error(
        "data set `{name}` has {} images of {classes} classes: expected 1 to {} images and at least one class: \
         check the files",
        Thousands(*images), Thousands(u32::MAX.into())
    )]
    Extent {
        /// The data set.
        name: String,
        /// Number of images.
        images: u64,
        /// Number of classes.
        classes: usize,
    },
    /// Images whose bytes are not those of a whole number of images of a sensible shape.
    #[error(
        "data set `{name}` has {} bytes of pixels: expected a multiple of {height}x{width}x{channels} bytes, with \
         sides of at least 1 and 1 to 4 channels: check the shape",
        Thousands(*found)
    )]
    Shape {
        /// The data set.
        name: String,
        /// Height of an image.
        height: u32,
        /// Width of an image.
        width: u32,
        /// Channels of an image.
        channels: u32,
        /// Number of bytes of all images.
        found: u64,
    },
    /// A part of a data set that is no fraction.
    #[error("validation fraction is {found}: expected at least 0 and less than 1, such as 0.1")]
    Fraction {
        /// What was found.
        found: f64,
    },
    /// A batch of nothing.
    #[error("batch size is 0: expected at least 1, such as 128")]
    BatchSize,
    /// An image that does not become a tensor.
    #[error("image {index} of data set `{name}`: {reason}")]
    Image {
        /// The data set.
        name: String,
        /// Which image, from 0.
        index: u32,
        /// What is wrong with it.
        reason: PreprocessError,
    },
    /// An image of which no features were computed.
    #[error(
        "there are no features of image {index} of data set `{name}`: compute them for all images that are used"
    )]
    NoFeatures {
        /// The data set.
        name: String,
        /// Which image, from 0.
        index: u32,
    },
    /// A batch beyond what can be allocated.
    #[error(
        "a batch of {images} images of {values} values each does not fit in memory: use smaller batches or images"
    )]
    Memory {
        /// Number of images in the batch.
        images: usize,
        /// Number of values of an image.
        values: usize,
    },
    /// The system refuses a thread.
    #[error(
        "cannot start the thread that prepares batches: {reason}: check the limits on processes and memory"
    )]
    Thread {
        /// What the operating system says.
        reason: io::Error,
    },
}
