//! Datasets of image files: found ([`Listing`]), read once as a whole ([`Listing::read`]), then
//! decoded as they are needed.

mod folder;
mod list;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_preprocess::{Pixels, PreprocessError};
use kiln_util::Hex;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::Dataset;
use crate::dataset::Image;
use crate::error::{DataError, FilesError};

pub use folder::{Folder, folder, images_below};
pub use list::{ListReader, Listed, list, list_checksum};

/// Image files with a label each, not yet read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    name: String,
    /// Folder that the files' paths are relative to.
    root: PathBuf,
    files: Vec<PathBuf>,
    /// One for each file.
    labels: Vec<u32>,
    classes: Vec<String>,
    skipped_files: BTreeMap<String, u64>,
}

impl Listing {
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

    /// Returns the files with their labels, indices into [`classes`](Self::classes).
    pub fn into_files(self) -> impl ExactSizeIterator<Item = (PathBuf, u32)> {
        self.files.into_iter().zip(self.labels)
    }

    /// Returns the name of each class; sorted, unless they were given.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Counts the skipped files in class folders, which are not images by their names, by ending: in
    /// lower case without its dot, and empty for names without one. Hidden files do not count, and a
    /// list has none.
    pub const fn skipped_files(&self) -> &BTreeMap<String, u64> {
        &self.skipped_files
    }

    /// Returns the same files with labels that are indices into these classes.
    ///
    /// # Errors
    ///
    /// [`FilesError::UnknownClass`] if the class of an image is not among them,
    /// [`FilesError::AmbiguousClass`] if it is there twice, so that nothing tells which of the two
    /// the image belongs to. Classes without images do not count.
    pub fn with_classes(mut self, classes: &[String]) -> Result<Self, FilesError> {
        let used = self.used_classes();
        let mut numbers = vec![0; self.classes.len()];
        for (at, class) in self.classes.iter().enumerate().filter(|(at, _)| used[*at]) {
            let mut same = (0..).zip(classes).filter(|(_, known)| *known == class);
            match (same.next(), same.next()) {
                (Some((number, _)), None) => numbers[at] = number,
                (None, _) => {
                    return Err(FilesError::UnknownClass {
                        name: self.name,
                        class: class.clone(),
                        expected: classes.to_vec(),
                    });
                }
                (Some((first, _)), Some((second, _))) => {
                    return Err(FilesError::AmbiguousClass {
                        name: self.name,
                        class: class.clone(),
                        numbers: [first, second],
                    });
                }
            }
        }
        for label in &mut self.labels {
            *label = numbers[*label as usize];
        }
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
        for label in &mut self.labels {
            *label = numbers[*label as usize];
        }
        self.classes = kept;
        (self, empty)
    }

    /// Returns whether each class has an image.
    fn used_classes(&self) -> Vec<bool> {
        let mut used = vec![false; self.classes.len()];
        for &label in &self.labels {
            used[label as usize] = true;
        }
        used
    }
}

/// How the images of a [`Listing`] are read. By default, all must be readable, and up to 1 GiB of
/// pixels is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadOptions {
    skip_bad: bool,
    keep_pixels: bool,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            skip_bad: false,
            keep_pixels: true,
        }
    }
}

impl ReadOptions {
    /// Skips images that cannot be read, or has them be an error.
    #[must_use]
    pub fn skip_bad(self, skip_bad: bool) -> Self {
        Self { skip_bad, ..self }
    }

    /// Keeps pixels for later, or only verifies that they can be decoded: enough for counting, with
    /// memory that does not grow with the images.
    #[must_use]
    pub fn keep_pixels(self, keep_pixels: bool) -> Self {
        Self {
            keep_pixels,
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
    /// `progress` is called after every file. The first 1 GiB of pixels is kept decoded, unless the
    /// options say otherwise; memory stays flat beyond.
    pub fn read(
        self,
        options: ReadOptions,
        progress: &(dyn Fn() + Sync),
    ) -> Result<ReadFiles, DataError> {
        let room = Room::new(if options.keep_pixels { KEPT_BYTES } else { 0 });
        let read = |path| {
            let file = ImageFile::read(&self.root, path, &room);
            progress();
            file
        };
        let results: Vec<_> = self.files.par_iter().map(|path| read(path)).collect();
        let mut files = Vec::with_capacity(results.len());
        let mut labels = Vec::with_capacity(results.len());
        let mut bad = Vec::new();
        for (result, &label) in results.into_iter().zip(&self.labels) {
            match result {
                Ok(file) => {
                    files.push(file);
                    labels.push(label);
                }
                Err(reason) => bad.push(reason),
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
        let dataset = Dataset::from_files(
            name,
            ImageFiles::new(self.root, files),
            labels,
            self.classes,
        )?;
        Ok(ReadFiles { dataset, bad })
    }
}

/// Bytes of pixels that a dataset of files keeps decoded: 1 GiB. Images beyond it are decoded again
/// every time.
const KEPT_BYTES: u64 = 1 << 30;

/// Image files that could all be read.
pub(crate) struct ImageFiles {
    root: PathBuf,
    files: Vec<ImageFile>,
}

/// One file.
struct ImageFile {
    /// Relative to the root.
    path: PathBuf,
    sha256: [u8; 32],
    kept: Option<Pixels>,
}

/// Room for decoded pixels.
struct Room(AtomicU64);

impl Room {
    fn new(bytes: u64) -> Self {
        Self(AtomicU64::new(bytes))
    }

    /// Takes so many bytes if there are as many left.
    fn take(&self, bytes: u64) -> bool {
        let left = |left: u64| left.checked_sub(bytes);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left)
            .is_ok()
    }
}

impl ImageFile {
    /// Reads and decodes a file, and keeps the pixels if there is room in memory.
    fn read(root: &Path, path: &Path, memory: &Room) -> Result<Self, PreprocessError> {
        let (bytes, pixels) = read(&root.join(path))?;
        let kept = memory
            .take(pixels.as_raw().pixels.len() as u64)
            .then_some(pixels);
        Ok(Self {
            path: path.into(),
            sha256: Sha256::digest(bytes).into(),
            kept,
        })
    }
}

impl ImageFiles {
    fn new(root: PathBuf, files: Vec<ImageFile>) -> Self {
        Self { root, files }
    }

    pub fn path(&self, index: usize) -> &Path {
        &self.files[index].path
    }

    pub fn sha256(&self, index: usize) -> &[u8; 32] {
        &self.files[index].sha256
    }

    pub fn image(&self, index: usize) -> Result<Image<'_>, PreprocessError> {
        let file = &self.files[index];
        match &file.kept {
            Some(pixels) => Ok(Image::Borrowed(pixels.as_raw())),
            None => read(&self.root.join(&file.path)).map(|(_, pixels)| Image::Owned(pixels)),
        }
    }

    /// Computes the SHA-256 of what `sha256sum` prints for the files in their order, run in the root.
    pub fn checksum(&self) -> String {
        let mut hash = Sha256::new();
        for file in &self.files {
            hash.update(format!("{}  {}\n", Hex(&file.sha256), file.path.display()));
        }
        Hex(&hash.finalize()).to_string()
    }
}

/// Reads a file's bytes and pixels.
fn read(path: &Path) -> Result<(Vec<u8>, Pixels), PreprocessError> {
    let name = format!("`{}`", path.display());
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(reason) => {
            return Err(PreprocessError::Read {
                image: name,
                reason,
            });
        }
    };
    let pixels = Pixels::decode(&bytes, &name)?;
    Ok((bytes, pixels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_until_there_is_none() {
        let room = Room::new(KEPT_BYTES);
        assert!(room.take(KEPT_BYTES - 1) && !room.take(2) && room.take(1) && !room.take(1));
    }

    #[test]
    fn images_without_room_are_decoded_every_time() {
        let folder = tempfile::tempdir().unwrap();
        image::GrayImage::from_raw(2, 1, vec![3, 4])
            .unwrap()
            .save(folder.path().join("a.png"))
            .unwrap();
        for (room, kept) in [(Room::new(KEPT_BYTES), true), (Room::new(1), false)] {
            let file = ImageFile::read(folder.path(), Path::new("a.png"), &room).unwrap();
            assert_eq!(file.kept.is_some(), kept);
            let files = ImageFiles::new(folder.path().into(), vec![file]);
            assert_eq!(files.image(0).unwrap().as_raw().pixels, [3, 4]);
        }
    }
}
