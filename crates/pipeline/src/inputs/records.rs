//! Images in files of many: Parquet and tar files, one image after another, and what is read whole, CIFAR's and IDX files.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_data::{
    Dataset, FilesError, Format, RecordFiles, View, idx_labels, raw_dataset, record_subsets,
};
use kiln_records::{Collection, Problem, Record, RecordsError, Share, is_url, shown};

use super::findings::Findings;
use super::input::{Image, Input, Inputs};
use super::labeled::Labels;
use super::shard::Shard;
use super::source::Source;
use crate::error::Result;
use crate::error::images::InputsError;

/// How the label of an image becomes a class's number.
type Number = Arc<dyn Fn(&Record) -> Result<Option<u32>> + Send + Sync>;

/// Finds the files that an argument names, if it names such.
pub(super) fn find(argument: &OsStr) -> Result<Option<RecordFiles>> {
    let path = Path::new(argument);
    if !RecordFiles::is(path) {
        return Ok(None);
    }
    Ok(Some(RecordFiles::find(path).map_err(FilesError::from)?))
}

/// Finds the files that several arguments name, if all of them name such of the same kind: they are one source, whose
/// row groups are shared together.
pub(super) fn find_all(arguments: &[std::ffi::OsString]) -> Result<Option<(Source, RecordFiles)>> {
    let paths: Vec<PathBuf> = arguments.iter().map(PathBuf::from).collect();
    if paths.is_empty() || !paths.iter().all(|path| RecordFiles::is(path)) {
        return Ok(None);
    }
    let files = match RecordFiles::find_all(&paths) {
        Ok(files) => files,
        // Of several formats, each is a source of its own.
        Err(_) if paths.len() > 1 => return Ok(None),
        Err(error) => return Err(FilesError::from(error).into()),
    };
    let source = Source::several(paths.iter().map(|path| source(path)));
    Ok(Some((source, files)))
}

/// What a path, a pattern or a URL is called.
fn source(path: &Path) -> Source {
    if let Some(url) = path.to_str().filter(|_| is_url(path.as_os_str())) {
        // The same wherever it is used, and without a signature.
        Source::named(shown(url))
    } else if path.exists() {
        Source::at(path)
    } else {
        Source::file(path)
    }
}

/// Opens images whose labels, if any, do not count.
pub(super) fn unlabeled(source: Source, files: &RecordFiles) -> Result<Inputs> {
    if let Some(dataset) = whole(files, false)? {
        return Ok(of_dataset(source, dataset, None));
    }
    let collection = Collection::open(files).map_err(FilesError::from)?;
    Ok(stream(source, collection, Arc::new(|_| Ok(None)), false))
}

/// Opens images whose labels are found among these classes; of a folder with subsets its test images.
pub(super) fn labeled(files: &RecordFiles, classes: &[String]) -> Result<Inputs> {
    let files = &tested(files)?;
    let findings = Findings::default();
    let labels = Labels::new(classes, &findings);
    let source = source(&files.name);
    if let Some(dataset) = whole(files, true)? {
        let name = format!("`{}`", files.name.display());
        let used: BTreeSet<u32> = dataset.labels().iter().copied().collect();
        let mut numbers = vec![0; dataset.classes().len()];
        for class in used {
            let number = labels.number(&dataset.classes()[class as usize], &name)?;
            numbers[class as usize] = number;
        }
        return Ok(of_dataset(source, dataset, Some(numbers)).finding(findings));
    }
    let collection = Collection::open(files).map_err(FilesError::from)?;
    collection.check_labels().map_err(FilesError::from)?;
    let path = files.name.clone();
    let number = move |record: &Record| match &record.label {
        Some(class) => Ok(Some(labels.number(class, &format!("`{}`", record.name))?)),
        None => Err(no_label(&path, record).into()),
    };
    Ok(stream(source, collection, Arc::new(number), true).finding(findings))
}

/// Opens images, and returns the names of their classes too, which their labels count; none where they have no labels.
pub(super) fn known(files: &RecordFiles) -> Result<(Inputs, Vec<String>)> {
    let source = source(&files.name);
    if files.format == Format::Idx && files.files.iter().any(|file| idx_labels(file).is_err()) {
        return Ok((unlabeled(source, files)?, Vec::new()));
    }
    if let Some(dataset) = whole(files, true)? {
        let classes = dataset.classes().to_vec();
        let numbers = (0..classes.len() as u32).collect();
        return Ok((of_dataset(source, dataset, Some(numbers)), classes));
    }
    let collection = Collection::open(files).map_err(FilesError::from)?;
    if !collection.has_labels().map_err(FilesError::from)? {
        return Ok((unlabeled(source, files)?, Vec::new()));
    }
    let classes = match collection.classes() {
        Some(classes) => classes.to_vec(),
        None => occurring(&collection)?,
    };
    let names = classes.clone();
    let number = move |record: &Record| {
        let label = record.label.as_ref();
        let number = label.and_then(|label| names.iter().position(|name| name == label));
        Ok(number.map(|number| number as u32))
    };
    Ok((stream(source, collection, Arc::new(number), true), classes))
}

/// Opens the images to train on of a folder with subsets, else all.
pub(super) fn calibration(files: &RecordFiles) -> Result<Inputs> {
    let source = source(&files.name);
    match record_subsets(files) {
        [Some(train), ..] if files.is_folder => unlabeled(source, &train),
        _ => unlabeled(source, files),
    }
}

/// The test images of a folder that has subsets; all of any other, and of what was named file by file.
fn tested(files: &RecordFiles) -> Result<RecordFiles> {
    if !files.is_folder {
        return Ok(files.clone());
    }
    match record_subsets(files) {
        [_, _, Some(test)] => Ok(test),
        [Some(all), None, None] | [None, Some(all), None] => Ok(all),
        [Some(_), Some(_), None] => Err(InputsError::NoTestFiles {
            path: files.name.clone(),
        }
        .into()),
        [None, None, None] => Ok(files.clone()),
    }
}

fn no_label(path: &Path, record: &Record) -> FilesError {
    RecordsError {
        path: path.into(),
        problem: Problem::NoLabel {
            record: format!("`{}`", record.name),
        },
    }
    .into()
}

/// The labels that occur: numbers by their values, else by name.
fn occurring(collection: &Collection) -> Result<Vec<String>> {
    let mut classes = BTreeSet::new();
    for record in collection.records(None, false) {
        let (_, record) = record.map_err(FilesError::from)?;
        classes.extend(record.label);
    }
    let mut classes: Vec<String> = classes.into_iter().collect();
    if classes.iter().all(|class| class.parse::<i64>().is_ok()) {
        classes.sort_by_key(|class| class.parse::<i64>().unwrap_or_default());
    }
    Ok(classes)
}

/// Reads files of the formats that are read whole; none of others.
fn whole(files: &RecordFiles, with_labels: bool) -> Result<Option<Dataset>> {
    let name = files.name.display().to_string();
    match files.format {
        Format::Parquet | Format::Tar => Ok(None),
        Format::Idx if !with_labels => Ok(Some(super::idx::pixels(&name, &files.files)?)),
        Format::Cifar | Format::Idx => Ok(Some(raw_dataset(&name, files)?)),
    }
}

/// The images of a dataset in memory, whose classes have these numbers; none where labels do not count.
fn of_dataset(source: Source, dataset: Dataset, numbers: Option<Vec<u32>>) -> Inputs {
    let inputs = Inputs::of_view(&View::all(Arc::new(dataset)));
    let has_labels = numbers.is_some();
    let relabeled = inputs.images.map(move |input| {
        input.map(|input| Input {
            label: numbers
                .as_ref()
                .and_then(|numbers| numbers.get(input.label? as usize).copied()),
            ..input
        })
    });
    Inputs {
        source,
        has_labels,
        count: inputs.count,
        has_paths: false,
        has_several: false,
        resumed: 0,
        findings: inputs.findings,
        images: Box::new(relabeled),
        share: None,
    }
}

/// Images one after another; a share of them is asked of the files.
fn stream(source: Source, collection: Collection, number: Number, has_labels: bool) -> Inputs {
    let count = collection.count();
    let all = images(&collection, None, Arc::clone(&number));
    let share = move |shard: Shard| {
        let share = shard.into();
        (
            collection.count_of(share),
            images(&collection, Some(share), number),
        )
    };
    Inputs {
        has_labels,
        images: all,
        share: Some(Box::new(share)),
        ..Inputs::new(source, count, std::iter::empty())
    }
}

fn images(
    collection: &Collection,
    share: Option<Share>,
    number: Number,
) -> Box<dyn Iterator<Item = Result<Input>> + Send> {
    let records = collection.records(share, true);
    Box::new(records.map(move |record| {
        let (index, record) = record.map_err(FilesError::from)?;
        Ok(Input {
            index,
            label: number(&record)?,
            labels: None,
            image: Image::Record {
                name: record.name,
                content: record.image,
            },
        })
    }))
}
