//! Data sets, by name or path, and the parts that a recipe makes of them.

mod files;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use kiln_assets::Asset;
use kiln_data::{Dataset, Subset, View, list_checksum, mnist};
use kiln_model::{Data, DataSource, DatasetName, Recipe, Validation, ValidationSubset};

use crate::commands::Context;
pub use files::{FileSets, LISTED, passed_over};

/// The subsets that a data set comes in.
#[derive(Clone)]
pub struct Subsets {
    pub train: Arc<Dataset>,
    pub validation: Option<Arc<Dataset>>,
    pub test: Option<Arc<Dataset>>,
}

/// Loads all subsets of a data set, fetching it first if need be.
pub fn subsets(source: &DataSource, context: &Context<'_>) -> anyhow::Result<Subsets> {
    match source {
        DataSource::Named(name) => {
            let load = |subset| load(*name, subset, context);
            Ok(Subsets {
                train: load(Subset::Train)?,
                validation: None,
                test: Some(load(Subset::Test)?),
            })
        }
        DataSource::Folder(_) | DataSource::Csv(_) => context.files.subsets(source, context),
    }
}

/// Loads a subset of a data set, fetching it first if need be.
pub fn load(
    name: DatasetName,
    subset: Subset,
    context: &Context<'_>,
) -> anyhow::Result<Arc<Dataset>> {
    match name {
        DatasetName::Mnist => {
            let fetched = context.assets.need(&Asset::mnist())?;
            Ok(Arc::new(mnist(&fetched.folder, subset)?))
        }
    }
}

/// What stands in the way of loading a data set without fetching it.
pub fn gap(source: &DataSource, context: &Context<'_>) -> Option<String> {
    match source {
        DataSource::Named(DatasetName::Mnist) => {
            let missing = context.assets.cache.lookup(&Asset::mnist()).is_none();
            missing.then(|| "MNIST is not in the cache; `kiln fetch mnist` brings it".into())
        }
        DataSource::Folder(path) | DataSource::Csv(path) => {
            (!Path::new(path).exists()).then(|| format!("the data set `{path}` is not there"))
        }
    }
}

/// SHA-256 of each file of a data set that has few, of each subset of one that has many.
pub fn checksums(
    source: &DataSource,
    context: &Context<'_>,
) -> anyhow::Result<BTreeMap<String, String>> {
    if let DataSource::Named(DatasetName::Mnist) = source {
        return Ok(Asset::mnist()
            .files
            .into_iter()
            .map(|file| (file.name, file.sha256))
            .collect());
    }
    let Subsets {
        train,
        validation,
        test,
    } = subsets(source, context)?;
    let sets = [Some(train), validation, test].into_iter().flatten();
    let mut checksums: BTreeMap<String, String> = sets
        .filter_map(|set| Some((format!("images of {}", set.name()), set.checksum()?)))
        .collect();
    if let DataSource::Csv(path) = source {
        // The labels are in the list.
        checksums.insert(path.clone(), list_checksum(Path::new(path))?);
    }
    Ok(checksums)
}

/// The images that a recipe trains on and those that it validates on.
pub struct Sets {
    pub train: View,
    pub validation: View,
    /// All images that either set draws from, in one or two views: what features are computed of.
    pub sources: Vec<View>,
}

/// Loads what a recipe asks for.
pub fn sets(recipe: &Recipe, context: &Context<'_>) -> anyhow::Result<Sets> {
    let (data, seed) = (&recipe.data, recipe.training.seed);
    let Parts {
        mut train,
        validation,
        test,
    } = parts(recipe, context)?;
    if let Some(limit) = data.limit {
        train = train.take(limit, seed);
    }
    let two = |train: View, validation: View| Sets {
        train: train.clone(),
        validation: validation.clone(),
        sources: vec![train, validation],
    };
    let split = |all: View, fraction| -> anyhow::Result<Sets> {
        let (train, validation) = all.split(fraction, seed)?;
        Ok(Sets {
            train,
            validation,
            sources: vec![all],
        })
    };
    let sets = match (data.validation, validation) {
        (Validation::Split(fraction), None) => split(train, fraction)?,
        (Validation::Split(_), Some(_)) => bail!(
            "`{}` has validation images of its own: leave out `data.validation_split`, or move them away",
            data.dataset
        ),
        (Validation::Subset(ValidationSubset::Test), _) => two(train, limited(test, recipe)),
        (Validation::Subset(ValidationSubset::Val | ValidationSubset::Auto), Some(own)) => {
            two(train, own)
        }
        (Validation::Subset(ValidationSubset::Auto), None) => split(train, Data::DEFAULT_SPLIT)?,
        (Validation::Subset(ValidationSubset::Val), None) => bail!(
            "`{}` has no folder `val` beside `train`: leave out `data.validation`, or set `data.validation_split`",
            data.dataset
        ),
    };
    for (view, what) in [(&sets.train, "training"), (&sets.validation, "validation")] {
        if view.is_empty() {
            bail!(
                "there are no {what} images: raise `data.limit`, change `data.validation_split`, or add images to `{}`",
                data.dataset
            );
        }
    }
    // Images that cannot be read may have been the only ones of their class.
    let counts = sets.train.class_counts();
    if let Some(empty) = counts
        .iter()
        .position(|&count| count == 0)
        .filter(|_| data.limit.is_none())
    {
        bail!(
            "class `{}` of `{}` has no training image: expected at least one for each class: add some, or remove the class",
            sets.train.dataset().classes()[empty],
            data.dataset
        );
    }
    Ok(sets)
}

/// The test images that a recipe is measured on.
pub fn test(recipe: &Recipe, context: &Context<'_>) -> anyhow::Result<View> {
    Ok(limited(parts(recipe, context)?.test, recipe))
}

/// The test images' name, as in `mnist:test`.
pub fn test_name(recipe: &Recipe) -> String {
    format!("{}:test", recipe.data.dataset)
}

fn limited(test: View, recipe: &Recipe) -> View {
    match recipe.data.test_limit {
        Some(limit) => test.take(limit, recipe.training.seed),
        None => test,
    }
}

/// A data set with test images: its own, or some of those for training.
struct Parts {
    train: View,
    validation: Option<View>,
    test: View,
}

fn parts(recipe: &Recipe, context: &Context<'_>) -> anyhow::Result<Parts> {
    let data = &recipe.data;
    let Subsets {
        train,
        validation,
        test,
    } = subsets(&data.dataset, context)?;
    let (train, validation) = (View::all(train), validation.map(View::all));
    match (test, data.test_split) {
        (Some(test), None) => Ok(Parts {
            train,
            validation,
            test: View::all(test),
        }),
        (Some(_), Some(_)) => {
            bail!(
                "`{}` has test images of its own: leave out `data.test_split`, or move them away",
                data.dataset
            )
        }
        (None, fraction) => {
            let (train, test) = train.split(
                fraction.unwrap_or(Data::DEFAULT_SPLIT),
                recipe.training.seed,
            )?;
            if test.is_empty() {
                bail!(
                    "there are no test images: raise `data.test_split`, or add images to `{}`",
                    data.dataset
                );
            }
            Ok(Parts {
                train,
                validation,
                test,
            })
        }
    }
}

/// What `--data` names.
#[derive(Debug, PartialEq, Eq)]
pub enum Named {
    /// `mnist`, `mnist:test` or `mnist:train`.
    Subset(DatasetName, Subset),
    /// A folder or a list.
    Files(DataSource),
}

/// A data set by name or path.
pub fn parse(text: &str) -> anyhow::Result<Named> {
    let (name, subset) = text.split_once(':').unwrap_or((text, "test"));
    let mnist = DatasetName::Mnist;
    if name != mnist.as_str() {
        let path = Path::new(text);
        return match (path.is_dir(), path.is_file()) {
            (true, _) => Ok(Named::Files(DataSource::Folder(text.into()))),
            (_, true) => Ok(Named::Files(DataSource::Csv(text.into()))),
            _ => bail!(
                "unknown data set `{text}`: use mnist:test, mnist:train, or the path of a folder of images or a CSV file \
                 that exists"
            ),
        };
    }
    match subset {
        "test" => Ok(Named::Subset(mnist, Subset::Test)),
        "train" => Ok(Named::Subset(mnist, Subset::Train)),
        _ => bail!("`{name}` has no subset `{subset}`: use {name}:test or {name}:train"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_set_is_named_with_or_without_its_subset() {
        assert_eq!(
            parse("mnist").unwrap(),
            Named::Subset(DatasetName::Mnist, Subset::Test)
        );
        assert_eq!(
            parse("mnist:train").unwrap(),
            Named::Subset(DatasetName::Mnist, Subset::Train)
        );
        assert!(
            parse("cifar")
                .unwrap_err()
                .to_string()
                .contains("unknown data set `cifar`")
        );
        assert!(
            parse("mnist:val")
                .unwrap_err()
                .to_string()
                .contains("has no subset `val`")
        );
    }

    #[test]
    fn a_data_set_is_a_folder_or_a_file_that_exists() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        assert_eq!(
            parse(path).unwrap(),
            Named::Files(DataSource::Folder(path.into()))
        );
        let file = format!("{path}/list.csv");
        assert!(parse(&file).is_err());
        std::fs::write(&file, "").unwrap();
        assert_eq!(parse(&file).unwrap(), Named::Files(DataSource::Csv(file)));
    }
}
