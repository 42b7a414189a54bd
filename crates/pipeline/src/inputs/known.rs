//! Images with the labels that their source has, by names of its own.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_data::{FilesError, Folder, ListReader, Listing, View, folder, list};

use super::findings::Findings;
use super::input::{Image, Inputs};
use super::labeled::listed;
use super::pattern::{self, is_pattern};
use super::records;
use super::source::Source;
use super::unlabeled::images;
use crate::context::Context;
use crate::dataset::{self, DatasetRef, check_list};
use crate::error::Result;

/// Opens images, and returns the names of their classes too, which their labels count; none where the
/// source has no labels: a folder of class folders (of one with subsets all images), any other folder,
/// a glob pattern of images in class folders, a CSV list, Parquet, tar, CIFAR's and IDX files, a dataset by its name, or an
/// image.
pub fn known(data: &OsStr, context: &Context<'_>) -> Result<(Inputs, Vec<String>)> {
    let path = Path::new(data);
    let unlabeled = || Ok((images(data, context)?, Vec::new()));
    if let Some(files) = records::find(data)? {
        return records::known(&files);
    }
    if path.is_dir() {
        return match folder(path) {
            Ok(found) if found.skipped().loose == 0 => {
                dataset::tell_skipped(&path.display().to_string(), &found.skipped(), context);
                Ok(class_folders(path, found))
            }
            // A folder of images, whatever they are.
            Ok(_)
            | Err(
                FilesError::Outside { .. }
                | FilesError::NoClasses { .. }
                | FilesError::OnlySubsets { .. }
                | FilesError::NotASubset { .. },
            ) => unlabeled(),
            Err(error) => Err(error.into()),
        };
    }
    if is_pattern(data) {
        return match data.to_str() {
            Some(text) => of_pattern(text, path),
            None => unlabeled(),
        };
    }
    let is_list = path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
    if is_list && path.is_file() {
        check_list(path)?;
        let list_reader = ListReader::open(path)?;
        if !list_reader.has_labels() || list_reader.has_several() {
            return unlabeled();
        }
        let listing = list(path)?;
        dataset::tell_repeated(&listing, context);
        let classes = listing.classes().to_vec();
        return Ok((listed(listing), classes));
    }
    match data
        .to_str()
        .filter(|_| !path.exists())
        .map(DatasetRef::parse)
    {
        Some(Ok(DatasetRef::Named(name, subset))) => {
            let dataset = dataset::load(name, subset, context)?;
            let classes = dataset.classes().to_vec();
            Ok((Inputs::of_view(&View::all(dataset)), classes))
        }
        Some(Ok(DatasetRef::Files(_)) | Err(_)) | None => unlabeled(),
    }
}

/// All images of a folder, by their paths below it.
fn class_folders(path: &Path, found: Folder) -> (Inputs, Vec<String>) {
    let subsets = match found {
        Folder::Whole(all) => vec![all],
        Folder::Divided {
            train,
            validation,
            test,
            ..
        } => std::iter::once(train)
            .chain(validation)
            .chain(test)
            .collect(),
    };
    let classes = subsets[0].classes().to_vec();
    let count = subsets.iter().map(|subset| subset.len() as u64).sum();
    let root: Arc<Path> = path.into();
    let files = subsets.into_iter().flat_map(|subset: Listing| {
        let below = subset.root().to_owned();
        let files = subset.into_files();
        files.map(move |(file, label)| (below.join(file), label))
    });
    let images = files.map(move |(file, label)| {
        let path = file.strip_prefix(&root).unwrap_or(&file).to_owned();
        Ok((Image::below(&root, path), Some(label)))
    });
    let inputs = Inputs {
        has_labels: true,
        ..Inputs::new(Source::at(path), Some(count), images)
    };
    (inputs, classes)
}

/// The files that a pattern matches; their folders are the classes.
fn of_pattern(text: &str, path: &Path) -> Result<(Inputs, Vec<String>)> {
    let findings = Findings::default();
    let files = pattern::files(text, findings.clone())?.collect::<Result<Vec<PathBuf>>>()?;
    let class = |file: &Path| -> String {
        let folder = file.parent().and_then(Path::file_name);
        folder.unwrap_or_default().to_string_lossy().into_owned()
    };
    let classes: BTreeSet<String> = files.iter().map(|file| class(file)).collect();
    let classes: Vec<String> = classes.into_iter().collect();
    let names = classes.clone();
    let count = files.len() as u64;
    let images = files.into_iter().map(move |file| {
        let label = names.binary_search(&class(&file)).ok();
        Ok((Image::at(file), label.map(|label| label as u32)))
    });
    let inputs = Inputs {
        has_labels: true,
        ..Inputs::new(Source::file(path), Some(count), images).finding(findings)
    };
    Ok((inputs, classes))
}
