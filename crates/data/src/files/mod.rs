//! Datasets of image files, or of images in Parquet and tar files: found ([`Listing`]), read once as a whole ([`Listing::read`]), then
//! decoded as they are needed.

mod folder;
mod list;
mod look;
mod names;
mod records;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_preprocess::{PreprocessError, Preprocessor};
use rayon::prelude::*;

use crate::error::{DataError, FilesError};
use crate::images::{ImageFile, ImageFiles, ImageMemory, Keeping};
use crate::{Dataset, LabelSets};

pub use folder::{Folder, folder};
pub use list::{ListReader, Listed, ListedFiles, Repeated, list, list_checksum};
pub use look::Look;
pub use names::{ClassMatch, ClassNames, NumberedFolders, SubsetRole, subset_role};
use records::OfRecords;
pub(crate) use records::no_train;
pub use records::{record_subsets, records};
pub use walk::{ImagesBelow, SkippedFiles, images_below};

/// Image files with a label each, not yet read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    name: String,
    /// Folder that the files' paths are relative to.
    root: PathBuf,
    files: Vec<PathBuf>,
    /// The line that each file has in a list, from 1; empty of a folder.
    lines: Vec<u64>,
    /// One for each file: its class, or the number of its set.
    labels: Vec<u32>,
    /// The sets of classes, where a file can have several.
    sets: Option<LabelSets>,
    classes: Vec<String>,
    skipped: SkippedFiles,
    repeated: Vec<Repeated>,
    /// What the images are in, where it is no files of their own.
    records: Option<OfRecords>,
}

impl Listing {
    /// Creates a listing without files.
    fn new(name: String, root: &Path) -> Self {
        Self {
            name,
            root: root.into(),
            files: Vec::new(),
            lines: Vec::new(),
            labels: Vec::new(),
            sets: None,
            classes: Vec::new(),
            skipped: SkippedFiles::default(),
            repeated: Vec::new(),
            records: None,
        }
    }

    /// Returns the dataset's name: its path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the number of files.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Returns whether there are no files.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Returns the files, relative to the folder that was searched or that the list is in.
    pub fn files(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }

    /// Returns the folder that the files' paths are relative to.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the files with their labels, indices into [`classes`](Self::classes) unless a file can have
    /// [several](Self::has_several).
    pub fn into_files(self) -> impl ExactSizeIterator<Item = (PathBuf, u32)> {
        self.files.into_iter().zip(self.labels)
    }

    /// Returns the line that each file has in a list, from 1; none of a folder.
    pub fn lines(&self) -> &[u64] {
        &self.lines
    }

    /// Returns the name of each class; sorted, unless they were given.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Returns whether an image can have several classes, or none.
    pub const fn has_several(&self) -> bool {
        self.sets.is_some()
    }

    /// Returns the number of images of each class.
    pub fn class_counts(&self) -> Vec<usize> {
        let labels = self.labels.iter().copied();
        match &self.sets {
            Some(sets) => sets.class_counts(self.classes.len(), labels),
            None => {
                LabelSets::exclusive(self.classes.len()).class_counts(self.classes.len(), labels)
            }
        }
    }

    /// Gives the classes other numbers.
    fn renumber(&mut self, numbers: &[u32]) {
        match self.sets.take() {
            Some(sets) => self.sets = Some(sets.renumbered(numbers)),
            None => {
                for label in &mut self.labels {
                    *label = numbers[*label as usize];
                }
            }
        }
    }

    /// Returns what was found beside the images; a list has nothing.
    pub const fn skipped(&self) -> &SkippedFiles {
        &self.skipped
    }

    /// Returns the lines of a list whose files are in a line before, and which do not count.
    pub fn repeated(&self) -> &[Repeated] {
        &self.repeated
    }

    /// Returns the same files with labels that are indices into these classes, which are found by name
    /// ([`ClassNames`]).
    ///
    /// # Errors
    ///
    /// [`FilesError::UnknownClass`] if the class of an image is not among them,
    /// [`FilesError::AmbiguousClass`] if it is there twice, so that nothing tells which of the two
    /// the image belongs to. Classes without images do not count.
    pub fn with_classes(self, classes: &[String]) -> Result<Self, FilesError> {
        let known = ClassNames::new(classes);
        let matches = self.matches(|class| known.by_name(class));
        self.relabeled(&matches, classes)
    }

    /// Returns the same files with labels that are indices into a model's classes, as
    /// [`with_classes`](Self::with_classes) does; and where all classes of the files are numbers, by these:
    /// that is told if they could have been matched in another way.
    ///
    /// # Errors
    ///
    /// As [`with_classes`](Self::with_classes).
    pub fn with_model_classes(
        self,
        classes: &[String],
    ) -> Result<(Self, Option<NumberedFolders>), FilesError> {
        let known = ClassNames::new(classes);
        let mut matches = self.matches(|class| known.find(class));
        // Among other names, a number is no index.
        let is_number = |found: &ClassMatch| matches!(found, ClassMatch::Number(_));
        let used = self.used_classes();
        let mut used_matches = matches.iter().zip(&used).filter(|(_, used)| **used);
        let all_numbers = |class: &String| class.bytes().all(|byte| byte.is_ascii_digit());
        let mut used_names = self.classes.iter().zip(&used).filter(|(_, used)| **used);
        if used_matches.any(|(found, _)| is_number(found))
            && !used_names.all(|(class, _)| all_numbers(class))
        {
            matches = self.matches(|class| known.by_name(class));
        }
        let folders = self.classes.iter().zip(&matches).zip(&used);
        let (folders, found): (Vec<&str>, Vec<ClassMatch>) = folders
            .filter(|(_, used)| **used)
            .map(|((class, found), _)| (class.as_str(), *found))
            .unzip();
        let numbered = NumberedFolders::of(&folders, &found, &known);
        Ok((self.relabeled(&matches, classes)?, numbered))
    }

    fn matches(&self, find: impl Fn(&str) -> ClassMatch) -> Vec<ClassMatch> {
        self.classes.iter().map(|class| find(class)).collect()
    }

    /// Numbers the images by what was found of each class.
    fn relabeled(mut self, matches: &[ClassMatch], classes: &[String]) -> Result<Self, FilesError> {
        let used = self.used_classes();
        let mut numbers = vec![0; self.classes.len()];
        for (at, found) in matches.iter().enumerate().filter(|(at, _)| used[*at]) {
            let class = || self.classes[at].clone();
            match *found {
                ClassMatch::Name(number) | ClassMatch::Number(number) => numbers[at] = number,
                ClassMatch::None => {
                    return Err(FilesError::UnknownClass {
                        class: class(),
                        name: self.name,
                        expected: classes.to_vec(),
                    });
                }
                ClassMatch::Ambiguous(numbers) => {
                    return Err(FilesError::AmbiguousClass {
                        class: class(),
                        name: self.name,
                        numbers,
                    });
                }
            }
        }
        self.renumber(&numbers);
        self.classes = classes.to_vec();
        Ok(self)
    }

    /// Checks that every class has an image, as training needs it.
    ///
    /// # Errors
    ///
    /// [`FilesError::EmptyClasses`] names those that have none.
    pub fn check_classes(&self) -> Result<(), FilesError> {
        let used = self.used_classes();
        let empty = self.classes.iter().zip(used).filter(|(_, used)| !used);
        let classes: Vec<String> = empty.map(|(class, _)| class.clone()).collect();
        if classes.is_empty() {
            return Ok(());
        }
        Err(FilesError::EmptyClasses {
            name: self.name.clone(),
            classes,
        })
    }

    /// Removes the classes that have no image; returns their names too.
    pub fn without_empty_classes(mut self) -> (Self, Vec<String>) {
        let mut kept = Vec::new();
        let mut empty = Vec::new();
        let mut numbers = Vec::with_capacity(self.classes.len());
        let used = self.used_classes();
        for (class, used) in self.classes.drain(..).zip(used) {
            numbers.push(kept.len() as u32);
            if used {
                kept.push(class);
            } else {
                empty.push(class);
            }
        }
        self.renumber(&numbers);
        self.classes = kept;
        (self, empty)
    }

    /// Returns whether each class has an image.
    fn used_classes(&self) -> Vec<bool> {
        let counts = self.class_counts().into_iter();
        counts.map(|count| count > 0).collect()
    }
}

/// How the images of a [`Listing`] are read. By default, all must be readable, and up to 1 GiB of
/// pixels is kept.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    skip_bad: bool,
    decoding: Decoding,
    memory: ImageMemory,
    preprocessor: Option<Arc<Preprocessor>>,
}

/// What becomes of the pixels when files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Decoding {
    /// Kept as long as there is [memory](ReadOptions::memory), the rest decoded again when it is
    /// used.
    #[default]
    Keep,
    /// Files are decoded only to see whether they can be: enough for counting, with memory that does
    /// not grow with the images.
    Verify,
    /// Files are read for their checksums, and decoded when they are used: for images of which it is
    /// known that they can be decoded.
    Defer,
}

impl ReadOptions {
    /// Skips images that cannot be read, or has them be an error.
    #[must_use]
    pub fn skip_bad(self, skip_bad: bool) -> Self {
        Self { skip_bad, ..self }
    }

    /// Says what becomes of the pixels.
    #[must_use]
    pub fn decoding(self, decoding: Decoding) -> Self {
        Self { decoding, ..self }
    }

    /// Sets the memory for pixels that are kept, which datasets may share.
    #[must_use]
    pub fn memory(self, memory: ImageMemory) -> Self {
        Self { memory, ..self }
    }

    /// Says what the images will be prepared by: larger ones are kept at the size that it asks for.
    /// Without it they are when they are used.
    #[must_use]
    pub fn prepared_by(self, preprocessor: Option<Arc<Preprocessor>>) -> Self {
        Self {
            preprocessor,
            ..self
        }
    }
}

/// A dataset of files, and the images that were skipped.
#[derive(Debug)]
pub struct ReadFiles {
    /// The images that can be read.
    pub dataset: Dataset,
    /// One for each image that cannot, in order; none unless they may be skipped.
    pub bad: Vec<PreprocessError>,
}

impl Listing {
    /// Reads and decodes every file, on all threads of rayon's pool, so that what cannot be read is
    /// known before work begins: that is an error unless the options say to skip it.
    ///
    /// `progress` is called after every file.
    pub fn read(
        self,
        options: ReadOptions,
        progress: &(dyn Fn() + Sync),
    ) -> Result<ReadFiles, DataError> {
        let keeping = match options.decoding {
            Decoding::Keep => Keeping {
                memory: Some(options.memory),
                preprocessor: options.preprocessor,
            },
            Decoding::Verify | Decoding::Defer => Keeping::default(),
        };
        let read = |path| {
            let file = match options.decoding {
                Decoding::Keep | Decoding::Verify => ImageFile::read(&self.root, path, &keeping),
                Decoding::Defer => ImageFile::unread(&self.root, path),
            };
            progress();
            file
        };
        let results: Vec<_> = match &self.records {
            Some(records) => records.read(options.decoding, &keeping, progress)?,
            None => self.files.par_iter().map(|path| read(path)).collect(),
        };
        if results.len() != self.files.len() {
            return Err(FilesError::Changed { name: self.name }.into());
        }
        let mut files = Vec::with_capacity(results.len());
        let mut labels = Vec::with_capacity(results.len());
        let mut bad = Vec::new();
        for (at, (result, &label)) in results.into_iter().zip(&self.labels).enumerate() {
            match result {
                Ok(file) => {
                    files.push(file);
                    labels.push(label);
                }
                Err(reason) => bad.push(match self.lines.get(at) {
                    Some(&line) => reason.listed(&self.name, line),
                    None => reason,
                }),
            }
        }
        let name = self.name;
        if !bad.is_empty() && !options.skip_bad {
            let reasons = bad.iter().take(FilesError::EXAMPLES);
            return Err(FilesError::Unreadable {
                name: format!("`{name}`"),
                bad: bad.len() as u64,
                total: self.files.len() as u64,
                examples: reasons.map(ToString::to_string).collect(),
            }
            .into());
        }
        if let (true, Some(first)) = (files.is_empty(), bad.first()) {
            return Err(FilesError::NothingReadable {
                name: format!("`{name}`"),
                example: first.to_string(),
            }
            .into());
        }
        let exclusive = || LabelSets::exclusive(self.classes.len());
        let sets = self.sets.unwrap_or_else(exclusive);
        let dataset = Dataset::from_files(
            name,
            ImageFiles::new(self.root, files, keeping.memory),
            labels,
            sets,
            self.classes,
        )?;
        Ok(ReadFiles { dataset, bad })
    }
}
