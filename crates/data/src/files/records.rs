//! Images in Parquet and tar files: listed by their labels, then read one after another.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use kiln_preprocess::PreprocessError;
use kiln_records::{Collection, Content, Problem, Record, RecordFiles, RecordsError, Span};
use rayon::prelude::*;

use super::folder::Folder;
use super::names::{SubsetRole, subset_role};
use super::{Decoding, Listing};
use crate::error::{DataError, FilesError};
use crate::images::{ImageFile, Keeping, Place};

/// Images that are decoded together.
const CHUNK: usize = 256;

/// The images of Parquet or tar files that a listing is of.
#[derive(Debug, Clone)]
pub(super) struct OfRecords(Collection);

impl PartialEq for OfRecords {
    /// Whether they are of the same files, which were read once.
    fn eq(&self, other: &Self) -> bool {
        self.0.is_same(&other.0)
    }
}

impl Eq for OfRecords {}

/// Returns which subset a file holds by its name: one word of it, whatever else is there, such as
/// `train-00000-of-00002.parquet` and `imagenet-validation-07.tar`.
fn role_of_file(name: &str) -> Option<SubsetRole> {
    // MNIST's and CIFAR-10's names.
    if name.starts_with("t10k-") {
        return Some(SubsetRole::Test);
    }
    if name.starts_with("data_batch_") {
        return Some(SubsetRole::Train);
    }
    let words = name.split(|c: char| !c.is_alphabetic());
    let roles: BTreeSet<SubsetRole> = words.filter_map(subset_role).collect();
    match roles.into_iter().collect::<Vec<_>>()[..] {
        [role] => Some(role),
        _ => None,
    }
}

/// Returns the files of each subset, by their names or those of their folders: to train on, to validate on, to test on. All
/// are to train on where no name tells. Files of no subset beside others, and of one that no dataset of kiln's has, are
/// left out.
pub fn record_subsets(files: &RecordFiles) -> [Option<RecordFiles>; 3] {
    let by_role = files.by_role(role_of_file);
    if by_role.iter().all(|(role, _)| role.is_none()) {
        return [Some(files.clone()), None, None];
    }
    [SubsetRole::Train, SubsetRole::Validation, SubsetRole::Test].map(|wanted| {
        let found = by_role.iter().find(|(role, _)| *role == Some(wanted));
        found.map(|(_, files)| files.clone())
    })
}

/// Lists the images of Parquet or tar files, by their labels alone; subsets by the names of the files.
pub fn records(files: &RecordFiles) -> Result<Folder, FilesError> {
    let [train, validation, test] = record_subsets(files);
    let Some(train) = train else {
        return Err(no_train(files));
    };
    let whole = validation.is_none() && test.is_none();
    let list = |files: RecordFiles| {
        let name = if whole {
            files.name.display().to_string()
        } else {
            let first = files.files.first().map_or(Path::new(""), |file| file);
            format!(
                "{} ({})",
                files.name.display(),
                first.file_name().unwrap_or_default().display()
            )
        };
        Listing::of_records(name, &files)
    };
    let train = list(train)?;
    if whole {
        return Ok(Folder::Whole(train));
    }
    Ok(Folder::Divided {
        train,
        validation: validation.map(list).transpose()?,
        test: test.map(list).transpose()?,
        skipped: super::SkippedFiles::default(),
    })
}

/// There are files, and none to train on.
pub(crate) fn no_train(files: &RecordFiles) -> FilesError {
    let names = files.files.iter().filter_map(|file| file.file_name());
    let found = names.map(|name| name.to_string_lossy().into_owned());
    let problem = Problem::NoTrain {
        found: found.collect(),
    };
    RecordsError {
        path: files.name.clone(),
        problem,
    }
    .into()
}

impl Listing {
    /// Lists the images of files, which must all have labels.
    fn of_records(name: String, files: &RecordFiles) -> Result<Self, FilesError> {
        let collection = Collection::open(files)?;
        collection.check_labels()?;
        let mut listing = Self::new(name, Path::new(""));
        let mut labels = Vec::new();
        for record in collection.records(None, false) {
            let (_, record) = record?;
            let Some(label) = record.label else {
                return Err(RecordsError {
                    path: files.name.clone(),
                    problem: Problem::NoLabel {
                        record: format!("`{}`", record.name),
                    },
                }
                .into());
            };
            listing.files.push(record.name.into());
            labels.push(label);
        }
        if labels.is_empty() {
            return Err(RecordsError {
                path: files.name.clone(),
                problem: Problem::Empty,
            }
            .into());
        }
        listing.classes = match collection.classes() {
            Some(classes) => classes.to_vec(),
            None => sorted(&labels),
        };
        let numbers: std::collections::HashMap<&str, u32> = listing
            .classes
            .iter()
            .map(String::as_str)
            .zip(0..)
            .collect();
        // Names that the files have themselves may be there twice; what labels count is the last of them.
        listing.labels = labels
            .iter()
            .map(|label| numbers.get(label.as_str()).copied().unwrap_or(0))
            .collect();
        listing.records = Some(OfRecords(collection));
        Ok(listing)
    }
}

/// The classes that occur: numbers by their values, else by name.
fn sorted(labels: &[String]) -> Vec<String> {
    let distinct: BTreeSet<&String> = labels.iter().collect();
    let mut classes: Vec<String> = distinct.into_iter().cloned().collect();
    let numbers: Option<Vec<i64>> = classes.iter().map(|class| class.parse().ok()).collect();
    if numbers.is_some() {
        classes.sort_by_key(|class| class.parse::<i64>().unwrap_or_default());
    }
    classes
}

/// Encoded images in a temporary file, where those that memory does not hold are read again: a compressed column
/// cannot be read at any place.
struct Spool {
    file: Arc<File>,
    out: BufWriter<File>,
    at: u64,
}

impl Spool {
    fn create() -> io::Result<Self> {
        let file = tempfile::tempfile()?;
        let out = BufWriter::with_capacity(1 << 20, file.try_clone()?);
        Ok(Self {
            file: Arc::new(file),
            out,
            at: 0,
        })
    }

    fn add(&mut self, name: &Path, bytes: &[u8]) -> io::Result<Span> {
        self.out.write_all(bytes)?;
        let span = Span::new(name, &self.file, self.at, bytes.len() as u64);
        self.at += bytes.len() as u64;
        Ok(span)
    }
}

/// What messages call an image, and its bytes.
type NamedBytes = (String, Result<Arc<[u8]>, PreprocessError>);

impl OfRecords {
    /// Reads the images at these places, in ascending order, each with what messages call it.
    pub fn some(&self, places: &[usize]) -> Vec<NamedBytes> {
        let read = |record: Result<Record, RecordsError>| {
            let (name, bytes) = match record {
                Ok(record) => (format!("`{}`", record.name), record.image.read()),
                Err(error) => ("an image".to_owned(), Err(io::Error::other(error))),
            };
            let bytes = bytes.map_err(|reason| PreprocessError::Read {
                image: name.clone(),
                reason,
            });
            (name, bytes)
        };
        if self.0.count().is_some() {
            return places
                .iter()
                .map(|&at| read(self.0.record(at as u64)))
                .collect();
        }
        let mut places = places.iter().peekable();
        let mut found = Vec::new();
        for record in self.0.records(None, true) {
            match (record, places.peek()) {
                (_, None) => break,
                (Ok((index, record)), Some(&&at)) if index == at as u64 => {
                    found.push(read(Ok(record)));
                    places.next();
                }
                (Ok(_), Some(_)) => (),
                (Err(error), Some(_)) => found.push(read(Err(error))),
            }
        }
        found
    }

    /// Reads all images, some at a time; as many results as images.
    pub fn read(
        &self,
        decoding: Decoding,
        keeping: &Keeping,
        progress: &(dyn Fn() + Sync),
    ) -> Result<Vec<Result<ImageFile, PreprocessError>>, DataError> {
        let mut spool: Option<Spool> = None;
        let mut results = Vec::new();
        let mut chunk = Vec::with_capacity(CHUNK);
        let mut records = self.0.records(None, true);
        loop {
            chunk.clear();
            for record in records.by_ref().take(CHUNK) {
                let (index, record) = record.map_err(FilesError::from)?;
                let place = match (&record.image, decoding) {
                    (Content::Span(span), _) => Place::Span(span.clone()),
                    (Content::Bytes(bytes), Decoding::Keep | Decoding::Defer) => {
                        let add = |spool: &mut Spool| spool.add(Path::new(&record.name), bytes);
                        let added = match &mut spool {
                            Some(spool) => add(spool),
                            None => Spool::create().and_then(|created| add(spool.insert(created))),
                        };
                        Place::Span(added.map_err(DataError::Spool)?)
                    }
                    // Counting reads few images again, if any.
                    (Content::Bytes(_) | Content::Missing | Content::Unread, _) => {
                        Place::Record(self.0.clone(), index)
                    }
                };
                chunk.push((record, place));
            }
            if chunk.is_empty() {
                break;
            }
            results.par_extend(chunk.par_drain(..).map(|(record, place)| {
                let file = match decoding {
                    Decoding::Keep | Decoding::Verify => {
                        ImageFile::of_record(&record, place, Some(keeping))
                    }
                    Decoding::Defer => ImageFile::of_record(&record, place, None),
                };
                progress();
                file
            }));
        }
        if let Some(mut spool) = spool {
            spool.out.flush().map_err(DataError::Spool)?;
        }
        Ok(results)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsets_are_words_of_names() {
        for (name, role) in [
            ("train-00000-of-00002.parquet", Some(SubsetRole::Train)),
            ("imagenet1k-validation-07.tar", Some(SubsetRole::Validation)),
            ("test_batch.bin", Some(SubsetRole::Test)),
            ("data_batch_1.bin", Some(SubsetRole::Train)),
            ("t10k-images-idx3-ubyte.gz", Some(SubsetRole::Test)),
            ("0000.parquet", None),
            ("train-test.parquet", None),
            ("unlabeled-00000-of-00001.parquet", Some(SubsetRole::Other)),
        ] {
            assert_eq!(role_of_file(name), role, "{name}");
        }
    }

    #[test]
    fn classes_that_are_numbers_are_sorted_as_such() {
        let classes =
            |labels: &[&str]| sorted(&labels.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(classes(&["10", "9", "10", "0"]), ["0", "9", "10"]);
        assert_eq!(classes(&["b", "10", "9"]), ["10", "9", "b"]);
    }
}
