//! Datasets, lists and images that cannot be used.
//!
//! [`DatasetError`] is about a dataset and its subsets, [`NotAList`] about a file that is no list,
//! [`InputsError`] about what a model is run on.

use std::io;
use std::path::PathBuf;

use kiln_inference::NotFinite;
use kiln_preprocess::ENDINGS;
use kiln_util::Thousands;

use crate::hint::Hint;

/// Most classes that a message lists.
const LISTED: usize = 20;

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
    /// The dataset's URL has a query, which would be kept with the run.
    #[error(
        "`{dataset}` has a query: expected a URL without one, since it is kept with what is made of the dataset, and a signature \
         in it ends"
    )]
    UrlWithQuery {
        /// The URL up to its query.
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
    /// All classes have one image only, which is for training.
    #[error(
        "there are no {subset} images in `{dataset}`: the only image of a class is for training, and no class has \
         more"
    )]
    SingleImages {
        /// The dataset.
        dataset: String,
        /// The subset: validation or test.
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
    /// None of the images of a class can be read, where such images are skipped.
    #[error(
        "no image of class `{class}` of `{dataset}` can be read: expected at least one for each class"
    )]
    UnreadableClass {
        /// The dataset.
        dataset: String,
        /// The class.
        class: String,
    },
    /// No dataset has this name, and nothing lies at this path.
    #[error(
        "unknown dataset `{name}`: expected mnist, fashion-mnist, or the path of a folder of images, a CSV file, or Parquet, \
         tar, CIFAR's or IDX files that exist"
    )]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// A folder of files of many images, named as one of class folders.
    #[error("`{path}` holds files of many images, expected a folder for each class")]
    FilesAsFolder {
        /// The folder.
        path: String,
    },
    /// The dataset does not have this subset.
    #[error("`{dataset}` has no subset `{subset}`: expected {dataset}:test or {dataset}:train")]
    NoSubset {
        /// The dataset.
        dataset: String,
        /// What was asked for.
        subset: String,
    },
    /// All classes have names of subsets.
    #[error(
        "expected the classes of the images in `{dataset}`, found {}, which look like subsets",
        listed(classes)
    )]
    SubsetsAsClasses {
        /// The dataset.
        dataset: String,
        /// The names of the classes.
        classes: Vec<String>,
    },
    /// The recipe weights a class that the dataset does not have.
    #[error(
        "`training.{key}` names the class `{class}`, expected one of `{dataset}`: {}",
        listed(classes)
    )]
    WeightOfNoClass {
        /// The key of the weights.
        key: &'static str,
        /// The dataset.
        dataset: String,
        /// The class.
        class: String,
        /// The classes of the dataset.
        classes: Vec<String>,
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
            Self::Empty { .. } | Self::SingleImages { .. } => Hint::AddImages,
            Self::FilesAsFolder { .. } => Hint::UseFilesKey,
            Self::EmptyClass { .. } | Self::UnreadableClass { .. } => Hint::AddImagesOrRemoveClass,
            Self::WeightOfNoClass { .. }
            | Self::UrlWithQuery { .. }
            | Self::SubsetsAsClasses { .. }
            | Self::Unknown { .. }
            | Self::NoSubset { .. }
            | Self::ClassCount { .. } => return None,
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

/// A file that was named in place of a list of images.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is {found}: expected a CSV file with the columns path and label, a folder, or a dataset", path.display())]
pub struct NotAList {
    /// The file.
    pub path: PathBuf,
    /// What it seems to be.
    pub found: &'static str,
}

impl NotAList {
    /// Returns what to do about it.
    pub const fn hint(&self) -> Option<Hint> {
        Some(Hint::UseDataset)
    }
}

/// Images that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputsError {
    /// A folder of subsets without test images.
    #[error("`{}` has no folder `test` with class folders beside `train`", path.display())]
    NoTest {
        /// The folder.
        path: PathBuf,
    },
    /// A folder of files of many images with subsets, none of them to test on.
    #[error("`{}` has files of training and of validation images, and none of test images", path.display())]
    NoTestFiles {
        /// The folder.
        path: PathBuf,
    },
    /// Something that went away between two looks at it.
    #[error("`{data}` went away while it was opened")]
    Vanished {
        /// What was named.
        data: String,
    },
    /// A class that the model does not have.
    #[error(
        "{source_name} has the class `{class}`: expected one of the model's, {}",
        listed(known)
    )]
    UnknownClass {
        /// What the images come from.
        source_name: String,
        /// The class.
        class: String,
        /// The model's classes.
        known: Vec<String>,
    },
    /// A class whose name two classes of the model have.
    #[error(
        "{source_name} has the class `{class}`, which classes {first} and {last} of the model are both called"
    )]
    RepeatedClass {
        /// What the images come from.
        source_name: String,
        /// The class.
        class: String,
        /// One of the model's classes.
        first: u32,
        /// Another one.
        last: u32,
    },
    /// A dataset whose classes are not those of the model.
    #[error(
        "expected the classes of the model, {}, found those of {dataset}, {}",
        listed(expected),
        listed(found)
    )]
    Classes {
        /// The dataset's name.
        dataset: String,
        /// The model's classes.
        expected: Vec<String>,
        /// The dataset's.
        found: Vec<String>,
    },
    /// An image for which the model gives NaN or an infinity.
    #[error("{image} cannot be classified: {reason}")]
    NotFinite {
        /// Its path in backquotes, or its number.
        image: String,
        /// What the model gives.
        reason: NotFinite,
    },
    /// Images that cannot be classified, some because the model gives NaN or an infinity for them.
    #[error(
        "{} of {} images of {source_name} cannot be classified:{}",
        Thousands(*bad), Thousands(*total), lines(examples, *bad)
    )]
    Unclassified {
        /// How many.
        bad: u64,
        /// Of how many.
        total: u64,
        /// What the images come from.
        source_name: String,
        /// Reasons of the first few, each of which names its image.
        examples: Vec<String>,
    },
    /// A model that gives NaN or an infinity for all images.
    #[error(
        "the model gives NaN or an infinity for each of the {} images of {source_name}: its weights are unusable",
        Thousands(*images)
    )]
    NothingFinite {
        /// How many.
        images: u64,
        /// What the images come from.
        source_name: String,
    },
    /// Images that can have several labels, for a model whose classes exclude each other.
    #[error(
        "{source_name} has several labels for an image, and the classes of the model exclude each other"
    )]
    SeveralLabels {
        /// What the images come from.
        source_name: String,
    },
    /// Images that can have several labels, where each needs one.
    #[error("{source_name} has several labels for an image, expected one: a column `label`")]
    OneLabel {
        /// What the images come from.
        source_name: String,
    },
    /// An image without a label, where one is needed.
    #[error("image {index} has no label")]
    Unlabeled {
        /// Its place among all images.
        index: u64,
    },
    /// A label that is no class of the model.
    #[error("image {index} has the label {label}: expected a class from 0 to {}", classes.saturating_sub(1))]
    Label {
        /// Its place among all images.
        index: u64,
        /// The label.
        label: u32,
        /// Number of classes.
        classes: usize,
    },
    /// Standard input, twice.
    #[error("`-` was given twice: standard input can be read once")]
    StdinTwice,
    /// No images were named.
    #[error("there is nothing to classify")]
    Nothing,
    /// A folder without images.
    #[error("there is no image in {}: expected files ending in {}", path.display(), ENDINGS.join(", "))]
    NoImage {
        /// The folder.
        path: PathBuf,
    },
    /// An IDX file of something else.
    #[error("expected images with the axes n, height and width in `{}`, found {}", path.display(), axes(found))]
    NotImages {
        /// The file.
        path: PathBuf,
        /// Its axes.
        found: Vec<u32>,
    },
    /// A list without labels, where they are needed.
    #[error("{list} has no column `label`")]
    NoLabels {
        /// What messages call the list.
        list: String,
    },
    /// A list of paths that cannot be read.
    #[error("cannot read the list {list}: {source}")]
    ReadList {
        /// What messages call the list.
        list: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A path of a list that is no text.
    #[error("line {line} of the list {list} has a path that is not UTF-8")]
    ListedPath {
        /// What messages call the list.
        list: String,
        /// The line, from 1.
        line: u64,
    },
    /// A pattern that is no text.
    #[error("`{}` is not UTF-8", path.display())]
    PatternPath {
        /// The pattern.
        path: PathBuf,
    },
    /// A pattern that cannot be understood.
    #[error("`{pattern}` is not a valid pattern: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A pattern that nothing matches.
    #[error("no file matches `{pattern}`")]
    NoMatch {
        /// The pattern.
        pattern: String,
    },
    /// A folder that a pattern leads into cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    ReadMatch {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl InputsError {
    /// Returns what to do about it.
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::NoTest { path } => Hint::UseSubset {
                example: path.join("train"),
            },
            Self::NoTestFiles { path } => Hint::UseFiles {
                example: path.join("validation-*"),
            },
            Self::NotFinite { .. } | Self::Unclassified { .. } => Hint::SkipUnclassified,
            Self::UnknownClass { .. } => Hint::CheckClasses,
            Self::RepeatedClass { .. } => Hint::UniqueLabels,
            Self::Classes { .. } => Hint::MatchDataset,
            Self::Nothing => Hint::GiveImages,
            Self::NotImages { .. } => Hint::CheckFile,
            Self::NoLabels { .. } => Hint::AddLabels,
            Self::SeveralLabels { .. } => Hint::IndependentClasses,
            Self::ReadList { .. } => Hint::CheckPath,
            Self::ListedPath { .. } => Hint::Rename,
            Self::PatternPath { .. } => Hint::GiveFiles,
            Self::NoMatch { .. } => Hint::CheckPattern,
            Self::NothingFinite { .. }
            | Self::Vanished { .. }
            | Self::Unlabeled { .. }
            | Self::OneLabel { .. }
            | Self::Label { .. }
            | Self::StdinTwice
            | Self::NoImage { .. }
            | Self::Pattern { .. }
            | Self::ReadMatch { .. } => return None,
        })
    }
}

/// A line for each reason, and one for those that are not listed.
fn lines(examples: &[String], all: u64) -> String {
    let more = all.saturating_sub(examples.len() as u64);
    let more = (more > 0).then(|| format!("and {} more", Thousands(more)));
    let lines = examples.iter().cloned().chain(more);
    lines.fold(String::new(), |text, line| text + "\n  " + &line)
}

/// The first classes, `0, 1, 2, …`.
fn listed(classes: &[String]) -> String {
    let more = if classes.len() > LISTED { ", …" } else { "" };
    let first = &classes[..classes.len().min(LISTED)];
    format!("{}{more}", first.join(", "))
}

/// `28 x 28`; `none` where there are none.
fn axes(found: &[u32]) -> String {
    let axes: Vec<String> = found.iter().map(ToString::to_string).collect();
    if axes.is_empty() {
        "none".to_owned()
    } else {
        axes.join(" x ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_listed_as_people_write_them() {
        let classes = |count: u32| (0..count).map(|class| class.to_string()).collect();
        let error = InputsError::Classes {
            dataset: "mnist:test".into(),
            expected: classes(3),
            found: classes(21),
        };
        let text = error.to_string();
        assert!(
            text.starts_with(
                "expected the classes of the model, 0, 1, 2, found those of mnist:test, 0, 1"
            ),
            "{text}"
        );
        assert!(text.ends_with("19, …") && !text.contains('['), "{text}");
    }
}
