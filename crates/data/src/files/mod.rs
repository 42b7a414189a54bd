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
    /// What the files' paths are relative to.
    root: PathBuf,
    files: Vec<PathBuf>,
    /// One for each file.
    labels: Vec<u32>,
    classes: Vec<String>,
    passed_over: BTreeMap<String, u64>,
}

impl Listing {
    /// The data set's name: its path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of files.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are no files.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The files, relative to the folder that was searched or that the list is in.
    pub fn files(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }

    /// What the files' paths are relative to.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The files with their labels, indices into [`classes`](Self::classes).
    pub fn into_files(self) -> impl ExactSizeIterator<Item = (PathBuf, u32)> {
        self.files.into_iter().zip(self.labels)
    }

    /// The name of each class; sorted, unless they were given.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Files in class folders that are no images by their names: how many of each ending, which is
    /// in small letters without its dot, and empty for names without one. Hidden files do not
    /// count, and a list has none.
    pub const fn passed_over(&self) -> &BTreeMap<String, u64> {
        &self.passed_over
    }

    /// The same files with labels that count these classes, which include all that are in use.
    pub fn with_classes(mut self, classes: &[String]) -> Result<Self, FilesError> {
        let numbers = self.classes.iter().map(|class| {
            let number = classes.iter().position(|known| known == class);
            number
                .map(|number| number as u32)
                .ok_or_else(|| FilesError::UnknownClass {
                    name: self.name.clone(),
                    class: class.clone(),
                    expected: classes.to_vec(),
                })
        });
        let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
        for label in &mut self.labels {
            *label = numbers[*label as usize];
        }
        self.classes = classes.to_vec();
        Ok(self)
    }

    /// That every class has an image, as training needs it.
    pub fn check_classes(&self) -> Result<(), FilesError> {
        let mut used = vec![false; self.classes.len()];
        for &label in &self.labels {
            used[label as usize] = true;
        }
        match self.classes.iter().zip(used).find(|(_, used)| !used) {
            Some((class, _)) => Err(FilesError::EmptyClass {
                name: self.name.clone(),
                class: class.clone(),
            }),
            None => Ok(()),
        }
    }
}

/// How many of the images that cannot be read an error names.
const EXAMPLES: usize = 3;

/// A data set of files, and what is wrong with those that were left out.
#[derive(Debug)]
pub struct ReadFiles {
    /// The images that can be read.
    pub dataset: Dataset,
    /// One for each image that cannot, in order; none unless they may be left out.
    pub bad: Vec<PreprocessError>,
}

impl Listing {
    /// Reads and decodes every file, on all threads of rayon's pool, so that what cannot be read is
    /// known before work begins: that is an error unless `skip_bad` says to leave such images out.
    /// `progress` hears of every file. The first 1 GiB of pixels is kept decoded; memory stays flat
    /// beyond.
    pub fn read(
        self,
        skip_bad: bool,
        progress: &(dyn Fn() + Sync),
    ) -> Result<ReadFiles, DataError> {
        let room = Room::new();
        let read = |path| {
            let file = ImageFile::read(&self.root, path, &room);
            progress();
            file
        };
        let results: Vec<_> = self.files.par_iter().map(|path| read(path)).collect();
        let (mut files, mut labels, mut bad) =
            (Vec::with_capacity(results.len()), Vec::new(), Vec::new());
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
        if !bad.is_empty() && !skip_bad {
            let examples: Vec<String> =
                bad.iter().take(EXAMPLES).map(ToString::to_string).collect();
            let (bad, total) = (bad.len() as u64, self.files.len() as u64);
            return Err(FilesError::Unreadable {
                name: format!("`{name}`"),
                bad,
                total,
                examples: examples.join("; "),
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

/// Bytes of pixels that a data set of files keeps decoded: 1 GiB. Images beyond it are decoded anew
/// every time.
const KEPT_BYTES: u64 = 1 << 30;

/// Image files that could all be read.
pub(crate) struct ImageFiles {
    root: PathBuf,
    files: Vec<ImageFile>,
}

/// One file.
pub(crate) struct ImageFile {
    /// Relative to the root.
    path: PathBuf,
    sha256: [u8; 32],
    kept: Option<Pixels>,
}

/// Room for decoded pixels.
pub(crate) struct Room(AtomicU64);

impl Room {
    pub fn new() -> Self {
        Self(AtomicU64::new(KEPT_BYTES))
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
    pub fn read(root: &Path, path: &Path, memory: &Room) -> Result<Self, PreprocessError> {
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
    pub fn new(root: PathBuf, files: Vec<ImageFile>) -> Self {
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

    /// The SHA-256 of what `sha256sum` prints for the files in their order, run in the root.
    pub fn checksum(&self) -> String {
        let mut hash = Sha256::new();
        for file in &self.files {
            hash.update(format!("{}  {}\n", Hex(&file.sha256), file.path.display()));
        }
        Hex(&hash.finalize()).to_string()
    }
}

/// A file's bytes and pixels.
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
        let room = Room::new();
        assert!(room.take(KEPT_BYTES - 1) && !room.take(2) && room.take(1) && !room.take(1));
    }

    #[test]
    fn images_without_room_are_decoded_every_time() {
        let folder = tempfile::tempdir().unwrap();
        image::GrayImage::from_raw(2, 1, vec![3, 4])
            .unwrap()
            .save(folder.path().join("a.png"))
            .unwrap();
        for (room, kept) in [(Room::new(), true), (Room(AtomicU64::new(1)), false)] {
            let file = ImageFile::read(folder.path(), Path::new("a.png"), &room).unwrap();
            assert_eq!(file.kept.is_some(), kept);
            let files = ImageFiles::new(folder.path().into(), vec![file]);
            assert_eq!(files.image(0).unwrap().as_raw().pixels, [3, 4]);
        }
    }
}
