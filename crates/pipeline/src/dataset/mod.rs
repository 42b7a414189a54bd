//! Phase 1: datasets by name or path, the subsets that a recipe makes of them, and how many images
//! of each class there are.

mod files;
pub(crate) mod store;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use kiln_assets::Asset;
use kiln_data::{
    Dataset, RecordFiles, Split, Subset, View, cifar_10, fashion_mnist, list_checksum, mnist,
    subset_role,
};
use kiln_model::{
    Channels, Classes, Data, DataSource, DatasetName, Preprocessing, Recipe, Validation,
    ValidationSubset,
};
use kiln_report::{MAX_LABEL, text_table};
use kiln_util::{counted, shown, thousands};
use serde::Serialize;

use crate::context::Context;
use crate::error::Result;
pub use crate::error::images::{DatasetError, Missing};
use crate::event::Event;
#[cfg(feature = "training")]
pub(crate) use files::Listings;
use files::Place;
pub(crate) use files::{check_list, tell_repeated, tell_skipped};
pub use store::{FileDatasets, Skipped, Subsets};

/// Loads all subsets of a dataset, fetching it first if need be. Image files are read once, however
/// often they are asked for.
pub fn subsets(source: &DataSource, context: &Context<'_>) -> Result<Subsets> {
    subsets_for(source, None, context)
}

/// Loads all subsets of a dataset, to be prepared by a record where one is known: of image files, what
/// is kept of the larger ones are then pixels at its size.
fn subsets_for(
    source: &DataSource,
    record: Option<&Preprocessing>,
    context: &Context<'_>,
) -> Result<Subsets> {
    let place = match Place::of(source) {
        Ok(place) => place,
        Err(name) => {
            let load = |subset| load(name, subset, context);
            return Ok(Subsets {
                train: load(Subset::Train)?,
                validation: None,
                test: Some(load(Subset::Test)?),
            });
        }
    };
    if let Some(subsets) = context.files.get(source) {
        return Ok(subsets);
    }
    let subsets = if let Some(raw) = place.raw()? {
        files::raw(&raw)?
    } else {
        let listings = files::find(&place, context)?;
        files::subsets(source.as_str(), listings, record, context)?
    };
    context.files.insert(source.clone(), subsets.clone());
    Ok(subsets)
}

/// Counts the classes of a dataset without reading an image; those without images do not count. `None`
/// if it is not there.
///
/// # Errors
///
/// If the images are not as datasets are, such as a folder without class folders.
pub fn classes(source: &DataSource) -> Result<Option<Classes>> {
    match Place::of(source) {
        Ok(place) if !place.exists() => Ok(None),
        Ok(place) => files::classes(&place).map(Some),
        Err(name) => Ok(Some(Classes::exclusive(name.classes()))),
    }
}

/// Checks, without reading an image, that a dataset of files has as many classes as a recipe's model
/// has scores, and that its class folders are no subsets.
///
/// # Errors
///
/// [`DatasetError::ClassCount`] and [`DatasetError::SubsetsAsClasses`], or why the images cannot be
/// listed.
pub fn check_classes(recipe: &Recipe, context: &Context<'_>) -> Result<()> {
    let source = &recipe.data.dataset;
    // The classes of a dataset with a name were compared when the recipe was read.
    let Ok(place) = Place::of(source) else {
        return Ok(());
    };
    // What was read already is not listed again, for every combination of a sweep.
    let (classes, several) = if let Some(subsets) = context.files.get(source) {
        let several = subsets.train.label_sets().has_several();
        (subsets.train.classes().to_vec(), several)
    } else if place.raw()?.is_some() {
        (subsets(source, context)?.train.classes().to_vec(), false)
    } else {
        let train = files::find(&place, context)?.train;
        (train.classes().to_vec(), train.has_several())
    };
    check_names(source, &classes)?;
    let found = Classes {
        count: classes.len(),
        several,
    };
    if let Some(problem) = recipe.class_mismatch(recipe.model().classes(), found) {
        return Err(DatasetError::ClassCount { problem }.into());
    }
    check_class_weight(recipe, &classes)
}

/// Checks that the classes are no subsets: a list may have them as labels; folders were looked at when
/// they were searched.
pub(crate) fn check_names(source: &DataSource, classes: &[String]) -> Result<(), DatasetError> {
    if classes.iter().all(|class| subset_role(class).is_some()) {
        return Err(DatasetError::SubsetsAsClasses {
            dataset: source.to_string(),
            classes: classes.to_vec(),
        });
    }
    Ok(())
}

/// Checks that the classes whose weight a recipe gives are there.
fn check_class_weight(recipe: &Recipe, classes: &[String]) -> Result<()> {
    let training = &recipe.training;
    for (key, weight) in [
        ("class_weight", &training.class_weight),
        ("pos_weight", &training.pos_weight),
    ] {
        let weight = weight.as_ref();
        if let Some(class) = weight.and_then(|weight| weight.unknown_class(classes)) {
            return Err(DatasetError::WeightOfNoClass {
                key,
                dataset: recipe.data.dataset.to_string(),
                class: class.to_owned(),
                classes: classes.to_vec(),
            }
            .into());
        }
    }
    Ok(())
}

/// Finds the images of a dataset of files without reading them; none of a dataset with a name, or of one that is
/// read whole.
#[cfg(feature = "training")]
pub(crate) fn listings(source: &DataSource, context: &Context<'_>) -> Result<Option<Listings>> {
    match Place::of(source) {
        Ok(place) if place.raw()?.is_none() => files::find(&place, context).map(Some),
        Ok(_) | Err(_) => Ok(None),
    }
}

/// Loads a subset of a named dataset, fetching it first if need be.
pub fn load(name: DatasetName, subset: Subset, context: &Context<'_>) -> Result<Arc<Dataset>> {
    let asset = asset(name);
    let fetched = context
        .assets
        .require(&asset, context.observer, &context.cancel)?;
    let dataset = match name {
        DatasetName::Mnist => mnist(&fetched.folder, subset)?,
        DatasetName::FashionMnist => fashion_mnist(&fetched.folder, subset)?,
        DatasetName::Cifar10 => cifar_10(&fetched.folder, subset)?,
    };
    Ok(Arc::new(dataset))
}

fn asset(name: DatasetName) -> Asset {
    match name {
        DatasetName::Mnist => Asset::mnist(),
        DatasetName::FashionMnist => Asset::fashion_mnist(),
        DatasetName::Cifar10 => Asset::cifar_10(),
    }
}

/// Returns what would have to be there for a dataset to be loaded without fetching anything.
pub fn missing(source: &DataSource, context: &Context<'_>) -> Option<Missing> {
    match source {
        DataSource::Named(name) => {
            context
                .assets
                .lookup(&asset(*name))
                .is_none()
                .then_some(Missing::Asset {
                    name: name.as_str(),
                })
        }
        DataSource::Folder(path) | DataSource::Csv(path) => {
            (!Path::new(path).exists()).then(|| Missing::Path { path: path.clone() })
        }
        DataSource::Files(path) => RecordFiles::find(Path::new(path))
            .is_err()
            .then(|| Missing::Path { path: path.clone() }),
    }
}

/// Returns the SHA-256 of each file of a dataset that has few, of each subset of one that has many.
pub fn checksums(source: &DataSource, context: &Context<'_>) -> Result<BTreeMap<String, String>> {
    if let DataSource::Named(name) = source {
        return Ok(asset(*name)
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
    let sets: Vec<Arc<Dataset>> = [Some(train), validation, test]
        .into_iter()
        .flatten()
        .collect();
    let mut checksums: BTreeMap<String, String> = sets
        .iter()
        .filter_map(|set| Some((format!("images of {}", set.name()), set.checksum()?)))
        .collect();
    match source {
        DataSource::Csv(path) => {
            // The labels are in the list.
            checksums.insert(path.clone(), list_checksum(Path::new(path))?);
        }
        DataSource::Files(_) => {
            for set in &sets {
                let (name, sum) = files::contents_checksum(set);
                checksums.insert(name, sum);
            }
        }
        DataSource::Named(_) | DataSource::Folder(_) => (),
    }
    Ok(checksums)
}

/// The images that a recipe trains on and those that it validates on.
#[derive(Debug, Clone)]
pub struct Splits {
    /// Images to train on.
    pub train: View,
    /// Images to validate on.
    pub validation: View,
    /// All images that either draws from, in one or two views: what features are computed of.
    pub sources: Vec<View>,
}

impl Splits {
    fn separate(train: View, validation: View) -> Self {
        Self {
            sources: vec![train.clone(), validation.clone()],
            train,
            validation,
        }
    }

    fn of_one(all: View, split: &Split<'_>) -> Result<Self> {
        let (train, validation) = all.split_by(split)?;
        Ok(Self {
            train,
            validation,
            sources: vec![all],
        })
    }
}

/// A class of fewer images cannot be in all of three subsets.
const IN_ALL_SUBSETS: usize = 3;

/// Loads the images that a recipe asks for and draws its splits with its seed. That there are as many
/// classes as the model has scores is checked before an image is read.
pub fn splits(recipe: &Recipe, context: &Context<'_>) -> Result<Splits> {
    check_classes(recipe, context)?;
    let data = &recipe.data;
    let dataset = || data.dataset.to_string();
    let Parts {
        mut train,
        validation,
        test,
        represented,
    } = parts(recipe, context)?;
    if let Some(limit) = data.limit {
        train = train.take_by(limit, recipe.training.seed, data.split_rule);
    }
    let split = |fraction| split(recipe, fraction, &represented);
    let all_test = test.clone();
    let splits = match (data.validation, validation) {
        (Validation::Split(fraction), None) => Splits::of_one(train, &split(fraction))?,
        (Validation::Split(_), Some(_)) => {
            return Err(DatasetError::OwnValidation { dataset: dataset() }.into());
        }
        (Validation::Subset(ValidationSubset::Test), _) => {
            Splits::separate(train, limited(test, recipe))
        }
        (Validation::Subset(ValidationSubset::Val | ValidationSubset::Auto), Some(own)) => {
            Splits::separate(train, own)
        }
        (Validation::Subset(ValidationSubset::Auto), None) => {
            Splits::of_one(train, &split(Data::DEFAULT_SPLIT))?
        }
        (Validation::Subset(ValidationSubset::Val), None) => {
            return Err(DatasetError::NoValidation { dataset: dataset() }.into());
        }
    };
    check_class_weight(recipe, splits.train.dataset().classes())?;
    for (view, subset) in [
        (&splits.train, "training"),
        (&splits.validation, "validation"),
    ] {
        if view.is_empty() {
            return Err(empty(&splits.sources[0], recipe, subset).into());
        }
    }
    // Images that cannot be read may have been the only ones of their class.
    let counts = splits.train.class_counts();
    let empty = counts.iter().position(|&count| count == 0);
    if let Some(empty) = empty.filter(|_| data.limit.is_none()) {
        let all = splits.train.dataset();
        let (dataset, class) = (dataset(), all.classes()[empty].clone());
        // Classes without files were left out, of the model too.
        let is_unreadable = context.files.skips_unreadable()
            && View::all(Arc::clone(all)).class_counts()[empty] == 0;
        return Err(if is_unreadable {
            DatasetError::UnreadableClass { dataset, class }
        } else {
            DatasetError::EmptyClass { dataset, class }
        }
        .into());
    }
    tell_small_classes(recipe, &splits.validation, &all_test, context);
    tell_colors(recipe, &splits, &all_test, context);
    Ok(splits)
}

/// How a recipe sets a fraction aside, in which these classes are to have an image.
fn split<'a>(recipe: &Recipe, fraction: f64, represented: &'a [bool]) -> Split<'a> {
    Split {
        represented,
        rule: recipe.data.split_rule,
        ..Split::new(fraction, recipe.training.seed)
    }
}

/// There is no image for a subset of these.
fn empty(images: &View, recipe: &Recipe, subset: &'static str) -> DatasetError {
    let dataset = recipe.data.dataset.to_string();
    let counts = images.class_counts();
    if counts.iter().all(|&count| count <= 1) {
        return DatasetError::SingleImages { dataset, subset };
    }
    DatasetError::Empty { dataset, subset }
}

/// Tells which classes have no image to validate or to test on, unless limits take some away.
fn tell_small_classes(recipe: &Recipe, validation: &View, test: &View, context: &Context<'_>) {
    let data = &recipe.data;
    let dataset = data.dataset.as_str();
    let without = |view: &View| -> Vec<String> {
        let counts = view.class_counts();
        let classes = view.dataset().classes().iter().zip(counts);
        let empty = classes.filter(|(_, count)| *count == 0);
        empty.map(|(class, _)| class.clone()).collect()
    };
    if data.limit.is_some() || data.test_limit.is_some() {
        return;
    }
    let (validation, test) = (without(validation), without(test));
    let any = !validation.is_empty() || !test.is_empty();
    if any
        && context.files.is_news(
            "small classes",
            &format!("{data:?} {}", recipe.training.seed),
        )
    {
        context.emit(&Event::SmallClasses {
            dataset,
            validation: &validation,
            test: &test,
        });
    }
}

/// Tells that images are in color where the model takes gray ones.
fn tell_colors(recipe: &Recipe, splits: &Splits, test: &View, context: &Context<'_>) {
    if recipe.preprocessing().channels != Channels::Gray {
        return;
    }
    let mut datasets: Vec<&Arc<Dataset>> = Vec::new();
    for view in [&splits.train, &splits.validation, test] {
        if !datasets
            .iter()
            .any(|known| Arc::ptr_eq(known, view.dataset()))
        {
            datasets.push(view.dataset());
        }
    }
    let sum = |count: &dyn Fn(&Dataset) -> usize| -> u64 {
        datasets.iter().map(|dataset| count(dataset) as u64).sum()
    };
    let images = sum(&Dataset::colored);
    let dataset = recipe.data.dataset.as_str();
    if images > 0 && context.files.is_news("colors", dataset) {
        context.emit(&Event::ColorsIgnored {
            dataset,
            images,
            total: sum(&Dataset::len),
        });
    }
}

/// Returns whether two recipes, equal but for the rule that subsets are drawn by, have the same
/// subsets.
#[cfg(feature = "training")]
pub(crate) fn drawn_alike(one: &Recipe, other: &Recipe, context: &Context<'_>) -> Result<bool> {
    if one.data.split_rule == other.data.split_rule {
        return Ok(true);
    }
    let drawn = |recipe: &Recipe| -> Result<_> {
        let Splits {
            train, validation, ..
        } = splits(recipe, context)?;
        let views = [train, validation, test_images(recipe, context)?];
        Ok(views.map(|view| view.indices().to_vec()))
    };
    Ok(drawn(one)? == drawn(other)?)
}

/// Returns the test images that a recipe is evaluated on.
pub fn test_images(recipe: &Recipe, context: &Context<'_>) -> Result<View> {
    Ok(limited(parts(recipe, context)?.test, recipe))
}

/// Returns the name of the test images, such as `mnist:test`.
pub fn test_name(recipe: &Recipe) -> String {
    format!("{}:test", recipe.data.dataset)
}

fn limited(test: View, recipe: &Recipe) -> View {
    match recipe.data.test_limit {
        Some(limit) => test.take_by(limit, recipe.training.seed, recipe.data.split_rule),
        None => test,
    }
}

/// A dataset with test images: its own, or some of those for training.
struct Parts {
    train: View,
    validation: Option<View>,
    test: View,
    /// Whether each class has so many images that it is to have some in every subset that is drawn.
    represented: Vec<bool>,
}

fn parts(recipe: &Recipe, context: &Context<'_>) -> Result<Parts> {
    let data = &recipe.data;
    let record = recipe.model().preprocessing();
    let subsets = subsets_for(&data.dataset, Some(record), context)?;
    let train = View::all(subsets.train);
    let validation = subsets.validation.map(View::all);
    let counts = train.class_counts();
    let represented: Vec<bool> = counts
        .iter()
        .map(|&count| count >= IN_ALL_SUBSETS)
        .collect();
    let (train, test) = match (subsets.test, data.test_split) {
        (Some(test), None) => (train, View::all(test)),
        (Some(_), Some(_)) => {
            let dataset = data.dataset.to_string();
            return Err(DatasetError::OwnTest { dataset }.into());
        }
        (None, fraction) => {
            // Validation images may be drawn of the rest.
            let drawn_too = match data.validation {
                Validation::Split(_) | Validation::Subset(ValidationSubset::Auto) => {
                    validation.is_none()
                }
                Validation::Subset(ValidationSubset::Test | ValidationSubset::Val) => false,
            };
            let fraction = fraction.unwrap_or(Data::DEFAULT_SPLIT);
            let split = Split {
                kept: 1 + usize::from(drawn_too),
                ..split(recipe, fraction, &represented)
            };
            let (rest, test) = train.split_by(&split)?;
            if test.is_empty() {
                return Err(empty(&train, recipe, "test").into());
            }
            (rest, test)
        }
    };
    Ok(Parts {
        train,
        validation,
        test,
        represented,
    })
}

/// Returns what a path is a dataset of, if there is something: files of many images, or a pattern of such; a folder;
/// else a list.
pub(crate) fn source_of(path: &Path, text: &str) -> Option<DataSource> {
    if RecordFiles::is(path) {
        return Some(DataSource::Files(text.into()));
    }
    match (path.is_dir(), path.exists()) {
        (true, _) => Some(DataSource::Folder(text.into())),
        (false, true) => Some(DataSource::Csv(text.into())),
        (false, false) => None,
    }
}

/// A dataset by name or path, as `--data` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatasetRef {
    /// `mnist`, `mnist:test` or `mnist:train`; `fashion-mnist` likewise.
    Named(DatasetName, Subset),
    /// A folder, a list, or files of many images.
    Files(DataSource),
}

impl DatasetRef {
    /// Reads a name or a path. Without a subset, a name stands for the test images.
    pub fn parse(text: &str) -> Result<Self, DatasetError> {
        let (name, subset) = text.split_once(':').unwrap_or((text, "test"));
        let Ok(named) = name.parse::<DatasetName>() else {
            return source_of(Path::new(text), text)
                .map(Self::Files)
                .ok_or_else(|| DatasetError::Unknown { name: text.into() });
        };
        match subset {
            "test" => Ok(Self::Named(named, Subset::Test)),
            "train" => Ok(Self::Named(named, Subset::Train)),
            _ => Err(DatasetError::NoSubset {
                dataset: name.into(),
                subset: subset.into(),
            }),
        }
    }
}

/// Images by class and subset.
#[derive(Debug, Serialize)]
pub struct ClassCounts {
    /// The dataset's name.
    pub data: String,
    /// Names of the subsets.
    pub subsets: Vec<&'static str>,
    /// The classes.
    pub classes: Vec<ClassCount>,
    /// Number of images of each subset.
    pub totals: Vec<usize>,
}

/// A class.
#[derive(Debug, Serialize)]
pub struct ClassCount {
    /// Its name.
    pub name: String,
    /// Number of images in each subset.
    pub images: Vec<usize>,
}

impl ClassCounts {
    /// Counts named views, at least one, which have the same classes.
    pub fn new(data: String, views: &[(&'static str, View)]) -> Self {
        let counts: Vec<Vec<usize>> = views.iter().map(|(_, view)| view.class_counts()).collect();
        let classes = views
            .first()
            .map_or(&[][..], |(_, view)| view.dataset().classes());
        Self {
            data,
            subsets: views.iter().map(|(name, _)| *name).collect(),
            classes: classes
                .iter()
                .enumerate()
                .map(|(at, name)| ClassCount {
                    name: name.clone(),
                    images: counts.iter().map(|counts| counts[at]).collect(),
                })
                .collect(),
            totals: views.iter().map(|(_, view)| view.len()).collect(),
        }
    }

    /// Makes a table with one line per class and one for all, under the dataset's name.
    pub fn to_text(&self) -> String {
        let row = |name: &str, images: &[usize]| -> Vec<String> {
            // With one subset there is nothing to add up.
            let sum = (images.len() > 1).then(|| images.iter().sum());
            std::iter::once(shown(name, MAX_LABEL))
                .chain(images.iter().copied().chain(sum).map(thousands))
                .collect()
        };
        let all = (self.subsets.len() > 1).then_some("all");
        let header = ["class"]
            .into_iter()
            .chain(self.subsets.iter().copied())
            .chain(all);
        let rows = self
            .classes
            .iter()
            .map(|class| row(&class.name, &class.images));
        let table = text_table(header, rows.chain([row("all", &self.totals)]), 1);
        format!(
            "{}: {}\n{table}\n",
            self.data,
            counted(self.classes.len() as u64, "class")
        )
    }
}

#[cfg(test)]
mod tests {
    use kiln_assets::Cache;

    use super::*;
    use crate::assets::CachedAssets;

    #[test]
    fn a_dataset_is_named_with_or_without_its_subset() {
        let mnist = |subset| Ok(DatasetRef::Named(DatasetName::Mnist, subset));
        assert_eq!(DatasetRef::parse("mnist"), mnist(Subset::Test));
        assert_eq!(DatasetRef::parse("mnist:train"), mnist(Subset::Train));
        let message = |text| DatasetRef::parse(text).unwrap_err().to_string();
        assert!(message("cifar").contains("unknown dataset `cifar`"));
        assert!(message("mnist:val").contains("has no subset `val`"));
    }

    /// A folder with an image, which is none, in each of these folders; and what a recipe of two
    /// classes says of it.
    fn checked(folders: &[&str], setting: &str) -> std::result::Result<(), String> {
        let root = tempfile::tempdir().unwrap();
        for folder in folders {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
            std::fs::write(root.path().join(folder).join("1.png"), "").unwrap();
        }
        let path = root.path().display().to_string();
        let text = "layers = [{ type = \"flatten\" }, { type = \"dense\", units = 2 }]";
        let set = [format!("data.folder={path}"), setting.to_owned()];
        let recipe = Recipe::parse(text, "r.toml", "r", &set).unwrap();
        let assets = CachedAssets::new(Cache::at("no-cache"), true);
        let context = Context::new(&assets, &());
        check_classes(&recipe, &context).map_err(|error| error.to_string().replace(&path, "data"))
    }

    #[test]
    fn classes_are_checked_before_an_image_is_read() {
        let seed = "training.seed=0";
        assert_eq!(checked(&["cat", "dog"], seed), Ok(()));
        let message = checked(&["cat", "dog", "eel"], seed).unwrap_err();
        assert!(
            message.contains("2 scores, but `data` has 3 classes"),
            "{message}"
        );
        let weight = "training.class_weight={dog = 2}";
        assert_eq!(checked(&["cat", "dog"], weight), Ok(()));
        assert_eq!(
            checked(&["cat", "eel"], weight).unwrap_err(),
            "`training.class_weight` names the class `dog`, expected one of `data`: cat, eel"
        );
    }

    #[test]
    fn subsets_by_other_names_are_no_classes() {
        let seed = "training.seed=0";
        for [train, test] in [
            ["Train", "Test"],
            ["training_set", "test_set"],
            ["train1", "VAL"],
            ["seg_train/seg_train", "seg_test/seg_test"],
        ] {
            let folder = |subset: &str, class: &str| format!("{subset}/{class}");
            let [cat, dog, test] = [
                folder(train, "cat"),
                folder(train, "dog"),
                folder(test, "dog"),
            ];
            assert_eq!(checked(&[&cat, &dog, &test], seed), Ok(()), "{train}");
        }
        for folders in [["train", "test1"], ["val/a", "test/a"], ["Train", "Train2"]] {
            let message = checked(&folders, seed).unwrap_err();
            assert!(message.contains("which look like subsets"), "{message}");
        }
        let message = checked(&["train", "test1"], seed).unwrap_err();
        assert!(
            message.contains("/train` holds 1 image in no class folder"),
            "{message}"
        );
        assert_eq!(checked(&["train/a", "train/b"], seed), Ok(()));
        assert_eq!(checked(&["tested", "trainer"], seed), Ok(()));
    }

    #[test]
    fn a_dataset_is_a_folder_or_a_file_that_exists() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let files = |source| Ok(DatasetRef::Files(source));
        assert_eq!(
            DatasetRef::parse(path),
            files(DataSource::Folder(path.into()))
        );
        let file = format!("{path}/list.csv");
        assert!(DatasetRef::parse(&file).is_err());
        std::fs::write(&file, "").unwrap();
        assert_eq!(DatasetRef::parse(&file), files(DataSource::Csv(file)));
    }
}
