//! What can be wrong with files of images.

use std::io;
use std::path::PathBuf;

use kiln_util::Thousands;

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
