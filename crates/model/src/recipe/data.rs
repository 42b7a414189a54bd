//! `[data]`: the dataset and its subsets.

use std::fmt;

use serde::Serialize;

use super::loss::Classes;
use crate::document::{Bound, Field, MAX_COUNT, RecipeError, Section};

pub(super) const KEYS: &[&str] = &[
    "dataset",
    "folder",
    "csv",
    "files",
    "validation_split",
    "validation",
    "test_split",
    "limit",
    "test_limit",
];

/// `[data]`: what is trained on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Data {
    /// The dataset.
    #[serde(flatten)]
    pub dataset: DataSource,
    /// Images that the validation figures are computed from.
    #[serde(flatten)]
    pub validation: Validation,
    /// The share of the images that is set aside for testing, drawn with the seed, the same share
    /// of each class; without it, the dataset's own test images, or
    /// [`DEFAULT_SPLIT`](Self::DEFAULT_SPLIT) where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_split: Option<f64>,
    /// At most this many training images (before the split), drawn with the seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// At most this many test images, drawn with the seed; for trying a recipe out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_limit: Option<usize>,
    /// How subsets are drawn: no key of a recipe's, since only a run of before has another rule than
    /// today's.
    #[serde(skip)]
    pub split_rule: SplitRule,
}

impl Data {
    /// Default share that is set aside for validation, and for testing.
    pub const DEFAULT_SPLIT: f64 = 0.1;
}

/// The rule by which subsets are drawn. A run keeps the one that it began with, so that the images
/// which it was not trained on stay those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SplitRule {
    /// Where the shares of classes are no whole numbers, the first classes by name give one more, so
    /// that a small subset has no images of the others; the only image of a class may be drawn. The rule
    /// of kiln 0.2.0 and before.
    ByLabel,
    /// The seed chooses these classes, and every class of at least three images is in every subset.
    #[default]
    Seeded,
}

kiln_util::str_enum!(SplitRule: Serialize + Deserialize { ByLabel = "by_label", Seeded = "seeded" });

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
    /// `files = "PATH"`: Parquet, tar, CIFAR's or IDX files: one, a folder of them, or a pattern.
    #[serde(rename = "files")]
    Files(String),
}

impl DataSource {
    /// The classes, where they are known without looking at the files.
    pub const fn classes(&self) -> Option<Classes> {
        match self {
            Self::Named(name) => Some(Classes::exclusive(name.classes())),
            Self::Folder(_) | Self::Csv(_) | Self::Files(_) => None,
        }
    }

    /// The line of a recipe's `[data]` that names it.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a name or a path is a string")
    }

    /// The name, or the path as written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Named(name) => name.as_str(),
            Self::Folder(path) | Self::Csv(path) | Self::Files(path) => path,
        }
    }
}

impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A dataset that kiln knows by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DatasetName {
    /// Handwritten digits, 28x28 gray, 60,000 for training and 10,000 for testing.
    Mnist,
    /// Ten kinds of clothes, in number and size as MNIST.
    FashionMnist,
    /// Ten kinds of animals and vehicles, 32x32 in colors, 50,000 for training and 10,000 for testing.
    Cifar10,
}

kiln_util::str_enum!(DatasetName: Serialize { Mnist = "mnist", FashionMnist = "fashion-mnist", Cifar10 = "cifar-10" });

impl DatasetName {
    /// Number of classes.
    pub const fn classes(self) -> usize {
        match self {
            Self::Mnist | Self::FashionMnist | Self::Cifar10 => 10,
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
    /// `validation = "test"` and others: a subset of the dataset.
    #[serde(rename = "validation")]
    Subset(ValidationSubset),
}

/// A ready-made subset to validate on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValidationSubset {
    /// The dataset's test images, as many reports do. The best epoch is then chosen on the test
    /// images, which makes the test figures too good.
    Test,
    /// The dataset's own validation images, such as those in a folder `val`.
    Val,
    /// [`Val`](Self::Val) where the dataset has such images, else [`Data::DEFAULT_SPLIT`] of the
    /// training images: the default for a folder and for files.
    Auto,
}

kiln_util::str_enum!(ValidationSubset: Serialize { Test = "test", Val = "val", Auto = "auto" });

/// Reads `[data]`.
pub(super) fn parse(root: &Section<'_>) -> Result<Data, RecipeError> {
    let section = root.sub("data", KEYS)?;
    let dataset = source(&section)?;
    let test_split = match (section.get("test_split"), &dataset) {
        (Some(field), DataSource::Named(name)) => {
            let name = name.as_str();
            return Err(field.error(format!(
                "`{name}` has test images of its own: leave out `test_split`"
            )));
        }
        (Some(field), _) => Some(field.number(Bound::OpenFraction)?),
        (None, DataSource::Csv(_)) => Some(Data::DEFAULT_SPLIT),
        (None, _) => None,
    };
    Ok(Data {
        validation: validation(&section, &dataset)?,
        dataset,
        test_split,
        limit: section
            .get("limit")
            .map(|field| field.integer(1..=MAX_COUNT))
            .transpose()?,
        test_limit: section
            .get("test_limit")
            .map(|field| field.integer(1..=MAX_COUNT))
            .transpose()?,
        split_rule: SplitRule::default(),
    })
}

fn source(section: &Section<'_>) -> Result<DataSource, RecipeError> {
    let path = |field: &Field<'_>| match field.string()? {
        "" => Err(field.error("the path is empty: name the images, or leave the key out")),
        path => Ok(path.to_string()),
    };
    let keys = ["dataset", "folder", "csv", "files"];
    let mut given = keys
        .into_iter()
        .filter_map(|key| Some((key, section.get(key)?)));
    let Some((key, field)) = given.next() else {
        return Ok(DataSource::Named(DatasetName::Mnist));
    };
    if let Some((_, other)) = given.next() {
        return Err(
            other.error("`dataset`, `folder`, `csv` and `files` exclude each other: keep one")
        );
    }
    Ok(match key {
        "dataset" => DataSource::Named(field.choice(&DatasetName::WORDS)?),
        "folder" => DataSource::Folder(path(&field)?),
        "csv" => DataSource::Csv(path(&field)?),
        _ => DataSource::Files(path(&field)?),
    })
}

fn validation(section: &Section<'_>, dataset: &DataSource) -> Result<Validation, RecipeError> {
    let subset = match (section.get("validation"), section.get("validation_split")) {
        (Some(field), Some(_)) => {
            return Err(
                field.error("`validation` and `validation_split` exclude each other: keep one")
            );
        }
        (None, Some(field)) => return Ok(Validation::Split(field.number(Bound::OpenFraction)?)),
        (Some(field), None) => field.choice(&ValidationSubset::WORDS)?,
        (None, None) => ValidationSubset::Auto,
    };
    match (subset, dataset, section.get("validation")) {
        // Whether a folder has validation images is not known before it is read.
        (ValidationSubset::Test, ..) | (_, DataSource::Folder(_) | DataSource::Files(_), _) => {
            Ok(Validation::Subset(subset))
        }
        (ValidationSubset::Val, _, Some(field)) => Err(field.error(format!(
            "`{dataset}` has no validation images of its own: use `validation_split`"
        ))),
        _ => Ok(Validation::Split(Data::DEFAULT_SPLIT)),
    }
}
