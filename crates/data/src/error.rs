//! Errors of data: files, IDX arrays, features, batches.

use std::io;
use std::path::{Path, PathBuf};

use kiln_preprocess::PreprocessError;
use kiln_util::{Thousands, counted, first_few};

/// Names of classes that a message lists.
const NAMED: usize = 10;

/// Data that cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the messages say")]
#[non_exhaustive]
pub enum DataError {
    /// An IDX file cannot be read.
    #[error(transparent)]
    Idx(#[from] kiln_records::IdxError),
    /// Files do not make a dataset.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// An IDX file of images without that of their labels.
    #[error(
        "`{}` has no file of labels beside it: expected `{}`, as `t10k-labels-idx1-ubyte` beside \
         `t10k-images-idx3-ubyte`",
        images.display(), expected.display()
    )]
    NoLabelFile {
        images: PathBuf,
        /// The name of the file of labels.
        expected: PathBuf,
    },
    /// Images of a compressed file cannot be kept where they are read from again.
    #[error("cannot keep images in a temporary file in `{}`: {_0}", std::env::temp_dir().display())]
    Spool(io::Error),
    /// A file of a dataset is missing, plain and compressed.
    #[error(
        "`{}` is missing: expected it, or `{name}.gz`, in that folder",
        folder.join(name).display()
    )]
    Missing { folder: PathBuf, name: String },
    /// An IDX file has another number of axes than its role asks for.
    #[error(
        "`{}` has axes {found:?}: expected {expected}: check that images and labels are not swapped",
        path.display()
    )]
    Axes {
        path: PathBuf,
        expected: &'static str,
        found: Vec<u32>,
    },
    /// There are not as many labels as images.
    #[error(
        "{place} has {} images and {} labels: expected one label per image: use files that belong together",
        Thousands(*images), Thousands(*labels)
    )]
    Counts {
        place: String,
        images: u64,
        labels: u64,
    },
    /// A label without a class.
    #[error(
        "{place} has label {found} for image {index}: expected 0 to {}: check the labels",
        classes.saturating_sub(1)
    )]
    Label {
        /// The file or the dataset.
        place: String,
        /// Index of the image, from 0.
        index: usize,
        found: u32,
        classes: usize,
    },
    /// A dataset without images, without classes, or with more images than can be numbered.
    #[error(
        "dataset `{name}` has {} images of {classes} classes: expected 1 to {} images and at least one class: \
         check the files",
        Thousands(*images), Thousands(u32::MAX.into())
    )]
    Extent {
        name: String,
        images: u64,
        classes: usize,
    },
    /// Images whose bytes are not those of a whole number of images of a sensible shape.
    #[error(
        "dataset `{name}` has {} bytes of pixels: expected a multiple of {height}x{width}x{channels} bytes, with \
         sides of at least 1 and 1 to 4 channels: check the shape",
        Thousands(*found)
    )]
    Shape {
        name: String,
        height: u32,
        width: u32,
        channels: u32,
        /// Number of bytes of all images.
        found: u64,
    },
    /// A validation fraction that is out of range.
    #[error("validation fraction is {found}: expected at least 0 and less than 1, such as 0.1")]
    Fraction { found: f64 },
    /// A batch size of zero.
    #[error("batch size is 0: expected at least 1, such as 128")]
    BatchSize,
    /// An image that does not become a tensor.
    #[error("image {index} of dataset `{name}`: {reason}")]
    Image {
        name: String,
        /// Index of the image, from 0.
        index: u32,
        reason: PreprocessError,
    },
    /// An image of which no features were computed.
    #[error(
        "there are no features of image {index} of dataset `{name}`: compute them for all images that are used"
    )]
    NoFeatures {
        name: String,
        /// Index of the image, from 0.
        index: u32,
    },
    /// A batch beyond what can be allocated.
    #[error(
        "a batch of {images} images of {values} values each does not fit in memory: use smaller batches or images"
    )]
    Memory {
        images: usize,
        /// Number of values of an image.
        values: usize,
    },
    /// The system refuses a thread.
    #[error(
        "cannot start the thread that prepares batches: {reason}: check the limits on processes and memory"
    )]
    Thread { reason: io::Error },
}

impl DataError {
    /// Returns what to do about it, where the message does not say so.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Files(error) => error.hint(),
            Self::Missing { .. } => Some(Hint::CompleteDataset),
            Self::NoLabelFile { .. } => Some(Hint::AddLabelFile),
            Self::Spool(_) => Some(Hint::FreeTemporary),
            Self::Idx(_)
            | Self::Axes { .. }
            | Self::Counts { .. }
            | Self::Label { .. }
            | Self::Extent { .. }
            | Self::Shape { .. }
            | Self::Fraction { .. }
            | Self::BatchSize
            | Self::Image { .. }
            | Self::NoFeatures { .. }
            | Self::Memory { .. }
            | Self::Thread { .. } => None,
        }
    }
}

/// What to do about an error of this crate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// Repair or remove the images that cannot be read, or
    /// [skip](crate::ReadOptions::skip_bad) them.
    SkipUnreadable {
        /// Number of images that cannot be read.
        images: u64,
    },
    /// Add images to the classes or remove their folders, or
    /// [skip](crate::Listing::without_empty_classes) them.
    SkipEmptyClasses {
        /// Names of the classes.
        classes: Vec<String>,
    },
    /// Give classes names of their own.
    RenameClasses,
    /// Put class folders into those of the subsets, and name these as is usual.
    NameSubsets,
    /// Fetch the dataset, or name the folder that has all of its files.
    CompleteDataset,
    /// Put the file of labels beside that of the images.
    AddLabelFile,
    /// Free disk space for temporary files, or have them elsewhere.
    FreeTemporary,
    /// What to do about an object store or a web server.
    Store(kiln_records::Cure),
}

/// Files that do not make a dataset.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the messages say")]
#[non_exhaustive]
pub enum FilesError {
    /// A folder or a list cannot be read.
    #[error("cannot read `{}`: {reason}: check the path and its permissions", path.display())]
    Read { path: PathBuf, reason: io::Error },
    /// A folder without class folders.
    #[error(
        "`{}` has no folders with images: expected one for each class, in it or in its folders `train`, `val` and `test`",
        path.display()
    )]
    NoClasses { path: PathBuf },
    /// A folder of images without class folders.
    #[error(
        "`{}` holds {} in no class folder, such as `{}`: move each into the folder of its class, or name the classes in \
         a list with the columns path and label",
        path.display(), counted(*images, "image"), image.display()
    )]
    Outside {
        path: PathBuf,
        /// Number of images.
        images: u64,
        /// The first of them.
        image: PathBuf,
    },
    /// Folders of subsets, none of which holds class folders to train on.
    #[error(
        "expected a folder for each class in `{}`, found {}, which look like subsets{}",
        path.display(), first_few(folders.iter().map(|folder| format!("`{folder}`")), NAMED), no_class_folders(loose.as_ref())
    )]
    OnlySubsets {
        path: PathBuf,
        /// The names of the folders.
        folders: Vec<String>,
        /// A folder that holds images in place of class folders, and how many.
        loose: Option<(PathBuf, u64)>,
    },
    /// A folder of images beside that of the training images that is not a subset, or a second one of
    /// its kind.
    #[error(
        "`{}` stands beside the training images: expected one folder each for training, validation and test images, \
         such as `train`, `val` and `test`: rename it or move it away",
        path.display()
    )]
    NotASubset { path: PathBuf },
    /// A class folder whose name is not UTF-8.
    #[error("the folder `{}` names a class: expected a name in UTF-8: rename it", path.display())]
    ClassName { path: PathBuf },
    /// Classes without images.
    #[error(
        "expected at least one image for each class of `{name}`, found none of {}",
        first_few(classes.iter().map(|class| format!("`{class}`")), NAMED)
    )]
    EmptyClasses { name: String, classes: Vec<String> },
    /// A class that is not among those expected.
    #[error(
        "`{name}` has the class `{class}`: expected only {}: check the names, or the dataset",
        first_few(expected.iter(), NAMED)
    )]
    UnknownClass {
        name: String,
        class: String,
        expected: Vec<String>,
    },
    /// A class whose name several of those expected have.
    #[error(
        "`{name}` has images of the class `{class}`, which classes {} and {} are both called",
        numbers[0], numbers[1]
    )]
    AmbiguousClass {
        name: String,
        class: String,
        /// Indices of two classes of that name.
        numbers: [u32; 2],
    },
    /// A line of a list.
    #[error("{}:{line}: {problem}", path.display())]
    Line {
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        problem: String,
    },
    /// Images that cannot be read, where all must be.
    #[error(
        "{} of {} images of {name} cannot be read:{}",
        Thousands(*bad), Thousands(*total), listed(examples, *bad)
    )]
    Unreadable {
        /// The dataset as messages have it: its name in backquotes, or several.
        name: String,
        bad: u64,
        total: u64,
        /// Reasons of the first [`EXAMPLES`](Self::EXAMPLES), each of which names its file.
        examples: Vec<String>,
    },
    /// Files whose images are others than they were when they were listed.
    #[error("the files of `{name}` changed while they were read")]
    Changed { name: String },
    /// Parquet, tar or CIFAR's files that cannot be used.
    #[error(transparent)]
    Records(#[from] kiln_records::RecordsError),
    /// No image is left.
    #[error("no image of {name} can be read: {example}")]
    NothingReadable {
        /// The dataset as messages have it: its name in backquotes, or several.
        name: String,
        example: String,
    },
}

impl FilesError {
    /// Number of images whose reasons [`Unreadable`](Self::Unreadable) lists.
    pub const EXAMPLES: usize = 3;

    /// Returns what to do about it, where the message does not say so.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Unreadable { bad, .. } => Some(Hint::SkipUnreadable { images: *bad }),
            Self::EmptyClasses { classes, .. } => Some(Hint::SkipEmptyClasses {
                classes: classes.clone(),
            }),
            Self::AmbiguousClass { .. } => Some(Hint::RenameClasses),
            Self::OnlySubsets { .. } => Some(Hint::NameSubsets),
            Self::Records(error) => error.cure().map(Hint::Store),
            Self::Read { .. }
            | Self::NoClasses { .. }
            | Self::Outside { .. }
            | Self::NotASubset { .. }
            | Self::ClassName { .. }
            | Self::UnknownClass { .. }
            | Self::Line { .. }
            | Self::Changed { .. }
            | Self::NothingReadable { .. } => None,
        }
    }
}

/// Names a subset without class folders.
fn no_class_folders(loose: Option<&(PathBuf, u64)>) -> String {
    loose.map_or_else(String::new, |(path, images)| {
        format!(
            ": `{}` holds {} in no class folder",
            path.display(),
            counted(*images, "image")
        )
    })
}

/// Formats a line for each reason, and one for those that are not listed.
fn listed(examples: &[String], all: u64) -> String {
    let more = all.saturating_sub(examples.len() as u64);
    let more = (more > 0).then(|| format!("and {} more", Thousands(more)));
    let lines = examples.iter().cloned().chain(more);
    lines.fold(String::new(), |text, line| text + "\n  " + &line)
}

/// A file of features that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {reason}. Check that the folder is writable and the disk has room", path.display())]
pub struct FeatureError {
    /// What failed: `open`, `write`.
    action: &'static str,
    path: PathBuf,
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
