//! `[data]`.

use super::MANY;
use crate::document::{Bound, Field, RecipeError, Section};
use crate::recipe::{Data, DataSource, DatasetName, Validation, ValidationSubset};

const KEYS: &[&str] = &[
    "dataset",
    "folder",
    "csv",
    "validation_split",
    "validation",
    "test_split",
    "limit",
    "test_limit",
];

pub fn read(root: &Section<'_>) -> Result<Data, RecipeError> {
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
            .map(|field| field.integer(1..=MANY))
            .transpose()?,
        test_limit: section
            .get("test_limit")
            .map(|field| field.integer(1..=MANY))
            .transpose()?,
    })
}

fn source(section: &Section<'_>) -> Result<DataSource, RecipeError> {
    let path = |field: &Field<'_>| match field.string()? {
        "" => Err(field.error("the path is empty: name the images, or leave the key out")),
        path => Ok(path.to_string()),
    };
    match (
        section.get("dataset"),
        section.get("folder"),
        section.get("csv"),
    ) {
        (Some(field), None, None) => Ok(DataSource::Named(
            field.choice(&[("mnist", DatasetName::Mnist)])?,
        )),
        (None, Some(field), None) => Ok(DataSource::Folder(path(&field)?)),
        (None, None, Some(field)) => Ok(DataSource::Csv(path(&field)?)),
        (None, None, None) => Ok(DataSource::Named(DatasetName::Mnist)),
        (_, Some(field), _) | (_, None, Some(field)) => {
            Err(field.error("`dataset`, `folder` and `csv` exclude each other: keep one"))
        }
    }
}

fn validation(section: &Section<'_>, dataset: &DataSource) -> Result<Validation, RecipeError> {
    let words = [
        ("test", ValidationSubset::Test),
        ("val", ValidationSubset::Val),
        ("auto", ValidationSubset::Auto),
    ];
    let subset = match (section.get("validation"), section.get("validation_split")) {
        (Some(field), Some(_)) => {
            return Err(
                field.error("`validation` and `validation_split` exclude each other: keep one")
            );
        }
        (None, Some(field)) => return Ok(Validation::Split(field.number(Bound::OpenFraction)?)),
        (Some(field), None) => field.choice(&words)?,
        (None, None) => ValidationSubset::Auto,
    };
    match (subset, dataset, section.get("validation")) {
        // Whether a folder has validation images is not known before it is read.
        (ValidationSubset::Test, ..) | (_, DataSource::Folder(_), _) => {
            Ok(Validation::Subset(subset))
        }
        (ValidationSubset::Val, _, Some(field)) => Err(field.error(format!(
            "`{dataset}` has no validation images of its own: use `validation_split`"
        ))),
        _ => Ok(Validation::Split(Data::DEFAULT_SPLIT)),
    }
}
