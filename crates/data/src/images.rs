//! Images: pixels in memory, and files that are decoded as they are needed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_preprocess::{Orientation, Pixels, PreprocessError, Preprocessor, RawImage};
use kiln_util::Hex;
use sha2::{Digest, Sha256};

/// The pixels of an image: those that the dataset has in memory, or decoded for this use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image<'a> {
    /// In memory.
    Borrowed(RawImage<'a>),
    /// Of a file, decoded before.
    Kept(&'a Pixels),
    /// Decoded for this use.
    Owned(Pixels),
}

impl Image<'_> {
    /// Returns the pixels.
    pub fn as_raw(&self) -> RawImage<'_> {
        match self {
            Self::Borrowed(image) => *image,
            Self::Kept(pixels) => pixels.as_raw(),
            Self::Owned(pixels) => pixels.as_raw(),
        }
    }

    /// Returns the picture turned upright by the file's Exif tag; pixels that are in memory without
    /// a file are upright.
    #[must_use]
    pub fn upright(self) -> Self {
        match self {
            Self::Kept(pixels) if pixels.orientation() != Orientation::Upright => {
                Self::Owned(pixels.clone()).upright()
            }
            Self::Owned(pixels) => {
                let orientation = pixels.orientation();
                Self::Owned(pixels.upright(orientation))
            }
            Self::Borrowed(_) | Self::Kept(_) => self,
        }
    }

    /// Returns the picture turned upright, where the preprocessor's record says so.
    #[must_use]
    pub fn prepared_for(self, preprocessor: &Preprocessor) -> Self {
        if preprocessor.record().orientation {
            self.upright()
        } else {
            self
        }
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
pub(crate) struct ImageFile {
    /// Relative to the root.
    path: PathBuf,
    sha256: [u8; 32],
    kept: Option<Pixels>,
}

/// Room for decoded pixels.
pub(crate) struct Room(AtomicU64);

impl Room {
    /// Returns room for 1 GiB, or none.
    pub fn new(keep_pixels: bool) -> Self {
        Self(AtomicU64::new(if keep_pixels { KEPT_BYTES } else { 0 }))
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

    /// Reads a file for its checksum, without decoding it.
    pub fn unread(root: &Path, path: &Path) -> Result<Self, PreprocessError> {
        let (_, bytes) = read_bytes(&root.join(path))?;
        Ok(Self {
            path: path.into(),
            sha256: Sha256::digest(bytes).into(),
            kept: None,
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
            Some(pixels) => Ok(Image::Kept(pixels)),
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
    let (name, bytes) = read_bytes(path)?;
    let pixels = Pixels::decode(&bytes, &name)?;
    Ok((bytes, pixels))
}

/// Reads a file's bytes, with its name for messages.
fn read_bytes(path: &Path) -> Result<(String, Vec<u8>), PreprocessError> {
    let name = format!("`{}`", path.display());
    match std::fs::read(path) {
        Ok(bytes) => Ok((name, bytes)),
        Err(reason) => Err(PreprocessError::Read {
            image: name,
            reason,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_until_there_is_none() {
        let room = Room::new(true);
        assert!(room.take(KEPT_BYTES - 1) && !room.take(2) && room.take(1) && !room.take(1));
    }

    #[test]
    fn images_without_room_are_decoded_every_time() {
        let folder = tempfile::tempdir().unwrap();
        image::GrayImage::from_raw(2, 1, vec![3, 4])
            .unwrap()
            .save(folder.path().join("a.png"))
            .unwrap();
        for (room, kept) in [(Room::new(true), true), (Room(AtomicU64::new(1)), false)] {
            let file = ImageFile::read(folder.path(), Path::new("a.png"), &room).unwrap();
            assert_eq!(file.kept.is_some(), kept);
            let files = ImageFiles::new(folder.path().into(), vec![file]);
            assert_eq!(files.image(0).unwrap().as_raw().pixels, [3, 4]);
        }
    }
}
