//! Data sets by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::bail;
use kiln_assets::Asset;
use kiln_data::{Dataset, Subset, View, mnist};
use kiln_spec::{DatasetName, Recipe, Validation, ValidationSubset};

use crate::assets::Assets;

/// Loads a subset of a data set, fetching it first if need be.
pub fn load(name: DatasetName, subset: Subset, assets: &Assets<'_>) -> anyhow::Result<Arc<Dataset>> {
    match name {
        DatasetName::Mnist => {
            let fetched = assets.need(&Asset::mnist())?;
            Ok(Arc::new(mnist(&fetched.folder, subset)?))
        }
    }
}

/// SHA-256 of each of its files.
pub fn checksums(name: DatasetName) -> BTreeMap<String, String> {
    let asset = match name {
        DatasetName::Mnist => Asset::mnist(),
    };
    asset.files.into_iter().map(|file| (file.name, file.sha256)).collect()
}

/// The images that a recipe trains on and those that it validates on.
pub struct Sets {
    pub train: View,
    pub validation: View,
    /// All images that either set draws from, in one or two views: what features are computed of.
    pub sources: Vec<View>,
}

/// Loads what a recipe asks for.
pub fn sets(recipe: &Recipe, assets: &Assets<'_>) -> anyhow::Result<Sets> {
    let (data, seed) = (&recipe.data, recipe.training.seed);
    let mut all = View::all(load(data.dataset, Subset::Train, assets)?);
    if let Some(limit) = data.limit {
        all = all.take(limit, seed);
    }
    let sets = match data.validation {
        Validation::Split(fraction) => {
            let (train, validation) = all.split(fraction, seed)?;
            Sets { train, validation, sources: vec![all] }
        }
        Validation::Subset(ValidationSubset::Test) => {
            let test = test(recipe, assets)?;
            Sets { train: all.clone(), validation: test.clone(), sources: vec![all, test] }
        }
    };
    for (view, what) in [(&sets.train, "training"), (&sets.validation, "validation")] {
        if view.is_empty() {
            bail!("there are no {what} images: raise `data.limit`, or change `data.validation_split`");
        }
    }
    Ok(sets)
}

/// The test images that a recipe is measured on.
pub fn test(recipe: &Recipe, assets: &Assets<'_>) -> anyhow::Result<View> {
    let all = View::all(load(recipe.data.dataset, Subset::Test, assets)?);
    Ok(recipe.data.test_limit.map_or(all.clone(), |limit| all.take(limit, recipe.training.seed)))
}

/// The test images' name, as in `mnist:test`.
pub fn test_name(recipe: &Recipe) -> String {
    format!("{}:test", recipe.data.dataset.as_str())
}

/// `mnist`, `mnist:test` or `mnist:train`.
pub fn parse(text: &str) -> anyhow::Result<(DatasetName, Subset)> {
    let (name, subset) = text.split_once(':').unwrap_or((text, "test"));
    let name = match name {
        "mnist" => DatasetName::Mnist,
        _ => bail!("unknown data set `{text}`: use mnist:test or mnist:train"),
    };
    let subset = match subset {
        "test" => Subset::Test,
        "train" => Subset::Train,
        _ => bail!("`{}` has no subset `{subset}`: use {0}:test or {0}:train", name.as_str()),
    };
    Ok((name, subset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_set_is_named_with_or_without_its_subset() {
        assert_eq!(parse("mnist").unwrap(), (DatasetName::Mnist, Subset::Test));
        assert_eq!(parse("mnist:train").unwrap(), (DatasetName::Mnist, Subset::Train));
        assert!(parse("cifar").unwrap_err().to_string().contains("unknown data set `cifar`"));
        assert!(parse("mnist:val").unwrap_err().to_string().contains("has no subset `val`"));
    }
}
