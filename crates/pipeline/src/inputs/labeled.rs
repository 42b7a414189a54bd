//! Images with labels, whose names are found among the classes of the model.

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use kiln_data::{
    ClassMatch, ClassNames, FilesError, Folder, ListReader, Listed, ListedFiles, Listing,
    SubsetRole, View, folder, subset_role,
};

use super::findings::Findings;
use super::input::{FoundSeveral, Image, Inputs};
use super::pattern::{self, is_pattern};
use super::records;
use super::source::Source;
use super::stdin::Stdin;
use crate::context::Context;
use crate::dataset::{self, DatasetRef, check_list};
use crate::error::Result;
use crate::error::images::InputsError;
use crate::event::Event;

/// Opens images with labels, of which these are the model's classes: a dataset by its name, a
/// folder of class folders (of one with subsets its test images), a glob pattern of images in class
/// folders, a CSV list or one on standard input (`-`), or files of many images: Parquet, tar, CIFAR's and IDX, of a
/// folder of such the test images too.
pub fn labeled(data: &str, classes: &[String], context: &Context<'_>) -> Result<Inputs> {
    let path = Path::new(data);
    if data == "-" {
        let stdin = Stdin::new(context.cancel.clone());
        return Inputs::from_list("standard input", stdin, Path::new(""), classes);
    }
    if let Some(files) = records::find(path.as_os_str())? {
        return records::labeled(&files, classes);
    }
    if path.is_dir() {
        return class_folders(path, classes, context);
    }
    if path.is_file() {
        check_list(path)?;
        let root = path.parent().unwrap_or(Path::new(""));
        return list(ListReader::open(path)?, Source::at(path), root, classes);
    }
    if is_pattern(path.as_os_str()) {
        let findings = Findings::default();
        let labels = Labels::new(classes, &findings);
        let images = pattern::files(data, findings.clone())?.map(move |path| {
            let path = path?;
            let class = path
                .parent()
                .and_then(Path::file_name)
                .and_then(OsStr::to_str)
                .unwrap_or_default();
            let label = labels.number(class, &format!("`{}`", path.display()))?;
            Ok((Image::at(path), Some(label)))
        });
        return Ok(Inputs {
            has_labels: true,
            ..Inputs::new(Source::file(path), None, images).finding(findings)
        });
    }
    let DatasetRef::Named(name, subset) = DatasetRef::parse(data)? else {
        return Err(InputsError::Vanished { data: data.into() }.into());
    };
    let dataset = dataset::load(name, subset, context)?;
    if dataset.classes() != classes {
        return Err(InputsError::Classes {
            dataset: dataset.name().into(),
            expected: classes.to_vec(),
            found: dataset.classes().to_vec(),
        }
        .into());
    }
    Ok(Inputs::of_view(&View::all(dataset)))
}

impl Inputs {
    /// Reads a CSV list with the columns `path` and `label` from any reader: the images lie below
    /// `root`, and `name` is what messages call the list.
    pub fn from_list(
        name: &str,
        reader: impl Read + Send + 'static,
        root: &Path,
        classes: &[String],
    ) -> Result<Self> {
        let reader = ListReader::new(Path::new(name), reader)?;
        list(reader, Source::named(name), root, classes)
    }
}

fn class_folders(path: &Path, classes: &[String], context: &Context<'_>) -> Result<Inputs> {
    let found = folder(path).or_else(|error| match test_images(path, &error) {
        Some(found) => Ok(found),
        None => Err(error),
    })?;
    let (name, skipped) = (path.display().to_string(), found.skipped());
    let listing = match found {
        Folder::Whole(all) => all,
        Folder::Divided {
            test: Some(test), ..
        } => test,
        Folder::Divided { test: None, .. } => {
            return Err(InputsError::NoTest { path: path.into() }.into());
        }
    };
    dataset::tell_skipped(&name, &skipped, context);
    let (listing, numbered) = listing.with_model_classes(classes)?;
    if let Some(example) = &numbered {
        let data = &name;
        context.emit(&Event::NumberedClasses { data, example });
    }
    Ok(listed(listing))
}

/// The test images of a folder that has none to train on, as published benchmarks come.
fn test_images(path: &Path, error: &FilesError) -> Option<Folder> {
    let FilesError::OnlySubsets { folders, .. } = error else {
        return None;
    };
    let is_test = |name: &&String| subset_role(name) == Some(SubsetRole::Test);
    let test = folders.iter().find(is_test)?;
    folder(&path.join(test)).ok()
}

fn list(
    list: ListReader<impl Read + Send + 'static>,
    source: Source,
    root: &Path,
    classes: &[String],
) -> Result<Inputs> {
    let name = source.to_string();
    let list = list.with_class_columns(classes)?;
    if !list.has_labels() {
        return Err(InputsError::NoLabels { list: name }.into());
    }
    let findings = Findings::default();
    let (told, labels) = (findings.clone(), Labels::new(classes, &findings));
    let mut files = ListedFiles::new(Path::new(&source.name()), root);
    let (root, called): (Arc<Path>, Arc<str>) = (root.into(), source.name().into());
    let has_several = list.has_several();
    // Each with its classes: one, or several.
    let image = move |entry: Result<Listed, FilesError>| -> Option<FoundSeveral> {
        let read = || {
            let mut listed = entry?;
            if let Some(repeated) = files.add(&mut listed)? {
                told.add_repeated(repeated);
                return Ok(None);
            }
            let place = format!("line {} of {name}", listed.line);
            let one = listed.label.into_iter();
            let names = one.chain(listed.labels.unwrap_or_default());
            let numbers = names.map(|class| labels.number(&class, &place));
            let numbers = numbers.collect::<Result<Vec<u32>, _>>()?;
            let image = Image::below(&root, listed.path).listed(&called, listed.line);
            Ok(Some((image, numbers)))
        };
        read().transpose()
    };
    let images = list.filter_map(image);
    if has_several {
        return Ok(Inputs::with_several(source, images).finding(findings));
    }
    let images =
        images.map(|found| found.map(|(image, classes)| (image, classes.first().copied())));
    Ok(Inputs {
        has_labels: true,
        ..Inputs::new(source, None, images).finding(findings)
    })
}

pub(super) fn listed(listing: Listing) -> Inputs {
    let source = Source::at(listing.root());
    let count = Some(listing.len() as u64);
    let root: Arc<Path> = listing.root().into();
    let list: Arc<str> = listing.name().into();
    let lines = listing.lines().to_vec();
    let images = (0_usize..).zip(listing.into_files());
    let images = images.map(move |(at, (path, label))| {
        let image = Image::below(&root, path);
        let image = match lines.get(at) {
            Some(&line) => image.listed(&list, line),
            None => image,
        };
        Ok((image, Some(label)))
    });
    Inputs {
        has_labels: true,
        ..Inputs::new(source, count, images)
    }
}

/// The classes of a model, and where is noted that one was found by its number.
#[derive(Debug, Clone)]
pub(super) struct Labels {
    classes: ClassNames,
    findings: Findings,
}

impl Labels {
    pub(super) fn new(classes: &[String], findings: &Findings) -> Self {
        Self {
            classes: ClassNames::new(classes),
            findings: findings.clone(),
        }
    }

    /// Returns the number of a class that an image of this source has.
    pub(super) fn number(&self, class: &str, source: &str) -> Result<u32, InputsError> {
        match self.classes.find(class) {
            ClassMatch::Name(index) => Ok(index),
            ClassMatch::Number(index) => {
                self.findings.set_numbered(class, index);
                Ok(index)
            }
            ClassMatch::None => Err(InputsError::UnknownClass {
                source_name: source.into(),
                class: class.into(),
                known: self.classes.names().to_vec(),
            }),
            ClassMatch::Ambiguous([first, last]) => Err(InputsError::RepeatedClass {
                source_name: source.into(),
                class: class.into(),
                first,
                last,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hint::Hint;

    #[test]
    fn a_list_from_any_reader_has_labels_of_the_model() {
        let classes = ["cat", "dog"].map(String::from);
        let read = |text: &'static str| {
            Inputs::from_list("my list", text.as_bytes(), Path::new("/images"), &classes)
        };
        let inputs: Vec<_> = read("path,label\na.png,dog\nb.png,emu\n")
            .unwrap()
            .collect();
        let first = inputs[0].as_ref().unwrap();
        assert_eq!(
            (first.label, first.path().as_deref()),
            (Some(1), Some("a.png"))
        );
        let message = inputs[1].as_ref().unwrap_err().to_string();
        assert_eq!(
            message,
            "line 3 of `my list` has the class `emu`: expected one of the model's, cat, dog"
        );
        let message = read("path\na.png\n").err().unwrap().to_string();
        assert_eq!(message, "`my list` has no column `label`");
    }

    #[test]
    fn a_file_of_two_lines_is_one_image() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.png", "b.png"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let classes = ["cat", "dog"].map(String::from);
        let read = |text: &'static str| -> Vec<_> {
            Inputs::from_list("my list", text.as_bytes(), folder.path(), &classes)
                .unwrap()
                .collect()
        };
        let inputs = read("path,label\na.png,dog\n./a.png,dog\nb.png,0\n");
        let labels: Vec<_> = inputs.iter().map(|i| i.as_ref().unwrap().label).collect();
        assert_eq!(labels, [Some(1), Some(0)], "the last by its number");
        let inputs = read("path,label\na.png,dog\n./a.png,cat\n");
        let message = inputs[1].as_ref().unwrap_err().to_string();
        assert_eq!(
            message,
            "my list:3: `./a.png` is the image of line 2, which has another label: remove one of them"
        );
    }

    #[test]
    fn a_benchmark_has_test_images_alone() {
        let folder = tempfile::tempdir().unwrap();
        let assets = crate::assets::CachedAssets::new(kiln_assets::Cache::at("no-cache"), true);
        let context = Context::new(&assets, &());
        let classes = ["cat", "dog"].map(String::from);
        let open = || labeled(folder.path().to_str().unwrap(), &classes, &context);
        std::fs::create_dir_all(folder.path().join("test/dog")).unwrap();
        std::fs::write(folder.path().join("test/dog/1.png"), "").unwrap();
        let labels: Vec<_> = open().unwrap().map(|i| i.unwrap().label).collect();
        assert_eq!(labels, [Some(1)]);
        std::fs::remove_dir_all(folder.path().join("test/dog")).unwrap();
        std::fs::write(folder.path().join("test/1.png"), "").unwrap();
        let message = open().err().unwrap().to_string();
        assert!(message.contains("look like subsets"), "{message}");
    }

    #[test]
    fn classes_are_found_by_name() {
        let findings = Findings::default();
        let labels = Labels::new(&["cat".into(), "dog".into()], &findings);
        assert_eq!(labels.number("dog", "`x`").unwrap(), 1);
        let message = labels.number("emu", "`x`").unwrap_err().to_string();
        assert_eq!(
            message,
            "`x` has the class `emu`: expected one of the model's, cat, dog"
        );
    }

    #[test]
    fn a_name_of_two_classes_is_no_label() {
        let labels = Labels::new(
            &["crane", "cat", "crane"].map(String::from),
            &Findings::default(),
        );
        assert_eq!(labels.number("cat", "`list.csv`").unwrap(), 1);
        let error = labels.number("crane", "`list.csv`").unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("classes 0 and 2 of the model are both called"),
            "{message}"
        );
        assert_eq!(error.hint(), Some(Hint::UniqueLabels));
    }
}
