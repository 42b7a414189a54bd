//! Folders and lists of images, and files of many, read with progress and once only. A file that is no list is
//! refused.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use kiln_data::{
    Dataset, FilesError, Folder, Format, Listing, RawSubsets, ReadOptions, RecordFiles,
    SkippedFiles, folder, list, raw_subsets, records,
};
use kiln_model::{Classes, DataSource, DatasetName, Preprocessing};
use kiln_preprocess::{Preprocessor, is_image_name};
use kiln_util::{Hex, is_utf16};
use sha2::{Digest, Sha256};

use super::store::Subsets;
use crate::context::Context;
use crate::error::Result;
use crate::error::images::{DatasetError, NotAList};
use crate::event::{Event, Task};

/// Endings of files that are known and no lists.
const OTHERS: [(&str, &str); 8] = [
    ("toml", "a TOML file"),
    ("onnx", "an ONNX model"),
    ("json", "a JSON file"),
    ("jsonl", "a file of JSON lines"),
    ("html", "an HTML page"),
    ("safetensors", "a file of weights"),
    ("zip", "an archive"),
    ("gz", "a compressed file"),
];

/// A dataset's images by subset, not yet read.
pub(crate) struct Listings {
    /// Images to train on, or all images, each class with one at least.
    pub train: Listing,
    /// Validation images, if the dataset has some.
    pub validation: Option<Listing>,
    /// Test images, if the dataset has some.
    pub test: Option<Listing>,
    /// The names of the class folders without images, which were skipped.
    empty: Vec<String>,
    /// What lies beside the images.
    pub skipped: SkippedFiles,
}

/// Where image files are listed.
pub(super) enum Place<'a> {
    /// A folder of class folders.
    Folder(&'a Path),
    /// A CSV list.
    List(&'a Path),
    /// Files of many images.
    Records(&'a Path),
}

impl<'a> Place<'a> {
    /// Returns where the images of a dataset are listed, or its name if it has one.
    pub(super) fn of(source: &'a DataSource) -> Result<Self, DatasetName> {
        match source {
            DataSource::Named(name) => Err(*name),
            DataSource::Folder(path) => Ok(Self::Folder(Path::new(path))),
            DataSource::Csv(path) => Ok(Self::List(Path::new(path))),
            DataSource::Files(path) => Ok(Self::Records(Path::new(path))),
        }
    }

    /// Whether there is something.
    pub(super) fn exists(&self) -> bool {
        match self {
            Self::Folder(path) | Self::List(path) => path.exists(),
            Self::Records(path) => RecordFiles::find(path).is_ok(),
        }
    }

    /// Returns files that are read whole, as CIFAR's and IDX are.
    pub(super) fn raw(&self) -> Result<Option<RecordFiles>> {
        let Self::Records(path) = self else {
            return Ok(None);
        };
        let files = record_files(path)?;
        Ok(match files.format {
            Format::Cifar | Format::Idx => Some(files),
            Format::Parquet | Format::Tar => None,
        })
    }

    fn list(&self) -> Result<Folder> {
        match self {
            Self::Folder(path) => {
                if RecordFiles::is(path) {
                    return Err(DatasetError::FilesAsFolder {
                        path: path.display().to_string(),
                    }
                    .into());
                }
                Ok(folder(path)?)
            }
            Self::Records(path) => Ok(records(&record_files(path)?)?),
            Self::List(path) => {
                check_list(path)?;
                Ok(Folder::Whole(list(path)?))
            }
        }
    }
}

/// Finds files of many images.
fn record_files(path: &Path) -> Result<RecordFiles> {
    let files = RecordFiles::find(path).map_err(FilesError::from)?;
    if files.has_query() {
        let dataset = files.name.display().to_string();
        return Err(DatasetError::UrlWithQuery { dataset }.into());
    }
    Ok(files)
}

/// Counts the classes with training images.
pub(super) fn classes(place: &Place<'_>) -> Result<Classes> {
    if let Some(files) = place.raw()? {
        let count = raw_subsets(&files)?.train.classes().len();
        return Ok(Classes::exclusive(count));
    }
    let train = match place.list()? {
        Folder::Whole(train) | Folder::Divided { train, .. } => train,
    };
    let several = train.has_several();
    let count = train.without_empty_classes().0.classes().len();
    Ok(Classes { count, several })
}

/// Finds the images of a dataset without reading them; those of a list are the training images.
pub(super) fn find(place: &Place<'_>, context: &Context<'_>) -> Result<Listings> {
    let found = place.list()?;
    let skipped = found.skipped();
    let (train, validation, test) = match found {
        Folder::Whole(all) => (all, None, None),
        Folder::Divided {
            train,
            validation,
            test,
            ..
        } => (train, validation, test),
    };
    let (train, empty) = if context.files.skips_unreadable() {
        train.without_empty_classes()
    } else {
        train.check_classes()?;
        (train, Vec::new())
    };
    let classes = train.classes().to_vec();
    let known = |subset: Option<Listing>| {
        subset
            .map(|subset| subset.with_classes(&classes))
            .transpose()
    };
    Ok(Listings {
        train,
        validation: known(validation)?,
        test: known(test)?,
        empty,
        skipped,
    })
}

/// Reads the images that were found in a dataset of this name, to be prepared by a record where one is
/// known.
pub(super) fn subsets(
    dataset: &str,
    listings: Listings,
    record: Option<&Preprocessing>,
    context: &Context<'_>,
) -> Result<Subsets> {
    let Listings {
        train,
        validation,
        test,
        empty,
        skipped,
    } = listings;
    tell_skipped(dataset, &skipped, context);
    tell_repeated(&train, context);
    if !empty.is_empty() {
        context.emit(&Event::EmptyClassesSkipped {
            dataset: train.name(),
            classes: &empty,
        });
    }
    let preprocessor = match record {
        Some(record) => Some(Arc::new(Preprocessor::new(record.clone())?)),
        None => None,
    };
    let options = ReadOptions::default()
        .skip_bad(context.files.skips_unreadable())
        .decoding(context.files.decoding())
        .memory(context.files.memory())
        .prepared_by(preprocessor);
    let read = |listing| read(listing, &options, context);
    Ok(Subsets {
        train: read(train)?,
        validation: validation.map(read).transpose()?,
        test: test.map(read).transpose()?,
    })
}

/// Reads files that are read whole.
pub(super) fn raw(files: &RecordFiles) -> Result<Subsets> {
    let RawSubsets {
        train,
        validation,
        test,
    } = raw_subsets(files)?;
    Ok(Subsets {
        train: Arc::new(train),
        validation: validation.map(Arc::new),
        test: test.map(Arc::new),
    })
}

/// Returns what a dataset's labels are called among checksums, and the SHA-256 of them; of one in memory that of its
/// pixels too.
pub(super) fn contents_checksum(dataset: &Dataset) -> (String, String) {
    let in_memory = dataset.path(0).is_none();
    let mut sha256 = Sha256::new();
    for index in 0..dataset.len() {
        if in_memory {
            sha256.update(dataset.identity(index));
        }
        for class in dataset.classes_of(index) {
            sha256.update(&dataset.classes()[*class as usize]);
        }
        sha256.update("\n");
    }
    let what = if in_memory {
        "images and labels"
    } else {
        "labels"
    };
    let name = format!("{what} of {}", dataset.name());
    (name, Hex(&sha256.finalize()).to_string())
}

fn read(listing: Listing, options: &ReadOptions, context: &Context<'_>) -> Result<Arc<Dataset>> {
    let start = Instant::now();
    let name = listing.name().to_owned();
    let images = listing.len() as u64;
    let task = context.task(Task::Read { dataset: &name }, Some(images));
    let read = listing.read(options.clone(), &|| task.advance(1));
    drop(task);
    let read = read?;
    context.emit(&Event::DatasetRead {
        name: &name,
        images,
        seconds: start.elapsed().as_secs_f64(),
    });
    context.files.skip(
        read.bad.len() as u64,
        read.bad.iter().map(ToString::to_string),
    );
    Ok(Arc::new(read.dataset))
}

/// Tells what lies in a folder beside the images, once.
pub(crate) fn tell_skipped(folder: &str, skipped: &SkippedFiles, context: &Context<'_>) {
    if !skipped.is_empty() && context.files.is_news("skipped", folder) {
        context.emit(&Event::FilesSkipped { folder, skipped });
    }
}

/// Tells which lines of a list have files of earlier lines, once.
pub(crate) fn tell_repeated(listing: &Listing, context: &Context<'_>) {
    let (list, lines) = (listing.name(), listing.repeated());
    if !lines.is_empty() && context.files.is_news("repeated", list) {
        context.emit(&Event::RepeatedFiles {
            list,
            count: lines.len() as u64,
            lines,
        });
    }
}

/// Refuses a file that is no list: an image, a recipe, a model, or anything that is not text. What
/// looks like text is left to the reader of lists.
pub(crate) fn check_list(path: &Path) -> Result<(), NotAList> {
    let ending = path
        .extension()
        .and_then(OsStr::to_str)
        .map(str::to_lowercase);
    let other = OTHERS
        .iter()
        .find(|(known, _)| ending.as_deref() == Some(known));
    let found = if is_image_name(path) {
        "an image"
    } else if let Some((_, found)) = other {
        found
    } else if is_binary(path) {
        "not text"
    } else {
        return Ok(());
    };
    Err(NotAList {
        path: PathBuf::from(path),
        found,
    })
}

/// Whether a regular file begins with a byte that no text has; UTF-16 is text. Pipes are not
/// touched.
fn is_binary(path: &Path) -> bool {
    let mut start = [0; 512];
    let mut read = || {
        let mut file = File::open(path).ok()?;
        file.metadata().ok()?.is_file().then_some(())?;
        file.read(&mut start).ok()
    };
    let length = read().unwrap_or(0);
    let start = &start[..length];
    start.contains(&0) && !is_utf16(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_lists_are_named_as_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            check_list(&path).map_err(|error| error.to_string())
        };
        assert_eq!(check("list.csv", b"path,label\n"), Ok(()));
        assert_eq!(check("list", b"path,label\n"), Ok(()));
        assert_eq!(check("list.csv", b"\xff\xfep\0a\0t\0h\0"), Ok(()));
        for (name, content, found) in [
            (
                "recipe.toml",
                &b"name = \"x\"\n"[..],
                "is a TOML file: expected a CSV file",
            ),
            ("cat.PNG", b"", "is an image: expected a CSV file"),
            ("blob", b"\x08\0\0", "is not text: expected a CSV file"),
        ] {
            let message = check(name, content).unwrap_err();
            assert!(
                message.contains(name) && message.contains(found),
                "{message}"
            );
        }
    }
}
