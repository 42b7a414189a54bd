//! Errors of data: files, IDX arrays, features, batches.

use std::io;
use std::path::{Path, PathBuf};

use kiln_preprocess::PreprocessError;
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

/// Files that do not make a data set.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A folder or a list cannot be read.
    #[error("cannot read `{}`: {reason}: check the path and its permissions", path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// What the operating system says.
        reason: io::Error,
    },
    /// A folder without class folders.
    #[error(
        "`{}` has no folders with images: expected one for each class, in it or in its folders `train`, `val` and `test`",
        path.display()
    )]
    NoClasses {
        /// The folder.
        path: PathBuf,
    },
    /// An image beside the class folders.
    #[error("`{}` is in no class folder: move it into the folder of its class, or away", path.display())]
    Outside {
        /// The image.
        path: PathBuf,
    },
    /// A folder beside `train` that is no subset.
    #[error(
        "`{}` stands beside `train`: expected `train`, `val` (or `valid`, `validation`) and `test`, one of each: rename it \
         or move it away",
        path.display()
    )]
    NotASubset {
        /// The folder.
        path: PathBuf,
    },
    /// A class folder whose name is no text.
    #[error("the folder `{}` names a class: expected a name in UTF-8: rename it", path.display())]
    ClassName {
        /// The folder.
        path: PathBuf,
    },
    /// A class without images.
    #[error(
        "class `{class}` of `{name}` has no image: expected at least one for each class: add some, or remove the class"
    )]
    EmptyClass {
        /// The data set.
        name: String,
        /// The class.
        class: String,
    },
    /// A class that is not among those expected.
    #[error("`{name}` has the class `{class}`: expected only {}: check the names, or the data set", expected.join(", "))]
    UnknownClass {
        /// The data set.
        name: String,
        /// The class.
        class: String,
        /// The classes expected.
        expected: Vec<String>,
    },
    /// A line of a list.
    #[error("{}:{line}: {problem}", path.display())]
    Line {
        /// The list.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Images that cannot be read, where all must be.
    #[error(
        "{} of {} images of {name} cannot be read: {examples}. Repair or remove {them}, or leave {them} out with --skip-bad",
        Thousands(*bad), Thousands(*total), them = if *bad == 1 { "it" } else { "them" }
    )]
    Unreadable {
        /// What messages call the data set: its name in backquotes, or several.
        name: String,
        /// Number of images that cannot be read.
        bad: u64,
        /// Number of images.
        total: u64,
        /// What is wrong with the first few.
        examples: String,
    },
    /// No image is left.
    #[error("no image of {name} can be read: {example}")]
    NothingReadable {
        /// What messages call the data set: its name in backquotes, or several.
        name: String,
        /// What is wrong with the first.
        example: String,
    },
}

/// An IDX file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum IdxError {
    /// The file is missing, unreadable, or damaged gzip.
    #[error("cannot read `{}`: {reason}: check that the file is there and whole", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What reading says.
        reason: io::Error,
    },
    /// The first four bytes are not those of a file of unsigned bytes.
    #[error(
        "`{}` is not an IDX file of unsigned bytes: expected it to begin with 00 00 08 and 01 to 04, found {}: \
         check that it is the right file", path.display(), hex(*found)
    )]
    Magic {
        /// The file.
        path: PathBuf,
        /// The first four bytes.
        found: [u8; 4],
    },
    /// The axes multiply to a size beyond 64 bits.
    #[error(
        "`{}` announces an array of {dims:?}: expected a size that fits in memory: the header is damaged, \
         replace the file", path.display()
    )]
    Overflow {
        /// The file.
        path: PathBuf,
        /// The length of each axis.
        dims: Vec<u32>,
    },
    /// The file ends before its values do.
    #[error(
        "`{}` is cut short: expected {} bytes, found {}: replace it by a complete copy",
        path.display(), Thousands(*expected), Thousands(*found)
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes of header and values together, uncompressed; of the header alone where that is cut
        /// short.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// The file goes on after its values.
    #[error(
        "`{}` has bytes left over: expected {} bytes, found more: the header does not fit the content, \
         replace the file", path.display(), Thousands(*expected)
    )]
    Trailing {
        /// The file.
        path: PathBuf,
        /// Bytes of header and values together, uncompressed.
        expected: u64,
    },
}

fn hex(bytes: [u8; 4]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(" ")
}

/// A file of features that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {reason}. Check that the folder is writable and the disk has room", path.display())]
pub struct FeatureError {
    /// What was tried.
    action: &'static str,
    /// The file.
    path: PathBuf,
    /// What the operating system says.
    reason: io::Error,
}

impl FeatureError {
    pub(crate) fn io(action: &'static str, path: &Path, reason: io::Error) -> Self {
        Self {
            action,
            path: path.into(),
            reason,
        }
    }
}
