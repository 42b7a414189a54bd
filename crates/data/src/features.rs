//! Features of samples, computed once and kept in a file.
//!
//! A file holds a header and then one row of f32 per sample, little-endian, in the order of the
//! samples. The header has the key that the features were computed by, and how many rows are done;
//! it is updated after the rows have reached the disk, so that an interruption loses at most the rows
//! of one [`append`](FeatureWriter::append).

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use kiln_util::Hex;
use memmap2::Mmap;

use crate::error::FeatureError;

/// A complete file of features, memory-mapped: the system keeps in memory what is used and no more.
#[derive(Debug)]
pub struct Features {
    map: Mmap,
    header: Header,
    /// Holds the lock that keeps other processes from writing.
    _file: File,
}

impl Features {
    /// Opens a file if it exists, is complete, and has this key and size; else returns nothing.
    pub fn open(
        path: &Path,
        key: FeatureKey,
        rows: usize,
        width: usize,
    ) -> Result<Option<Self>, FeatureError> {
        let wanted = Header {
            key,
            rows: rows as u64,
            width: width as u64,
            done: rows as u64,
        };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(FeatureError::io("open", path, error)),
        };
        file.lock_shared()
            .map_err(|error| FeatureError::io("lock", path, error))?;
        if Header::read(&file).map_err(|error| FeatureError::io("read", path, error))?
            != Some(wanted)
        {
            return Ok(None);
        }
        let length = file
            .metadata()
            .map_err(|error| FeatureError::io("read", path, error))?
            .len();
        if length != wanted.length() {
            return Ok(None);
        }
        #[expect(unsafe_code, reason = "memory-mapping is unsafe by nature")]
        // SAFETY: the file must not be truncated while it is mapped. kiln writes these files under
        // an exclusive lock, which the shared lock held as long as the map rules out.
        let map =
            unsafe { Mmap::map(&file) }.map_err(|error| FeatureError::io("map", path, error))?;
        Ok(Some(Self {
            map,
            header: wanted,
            _file: file,
        }))
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.header.rows as usize
    }

    /// Returns the number of values in a row.
    pub fn width(&self) -> usize {
        self.header.width as usize
    }

    /// Copies a row.
    ///
    /// # Panics
    ///
    /// If there is no such row, or `out` is not as long as one.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.width(), "room for one row");
        let bytes = &self.map[HEADER..][row * self.width() * 4..][..self.width() * 4];
        let (values, _) = bytes.as_chunks::<4>();
        for (out, value) in out.iter_mut().zip(values) {
            *out = f32::from_le_bytes(*value);
        }
    }
}

/// Writes a file of features, or resumes one that was interrupted.
#[derive(Debug)]
pub struct FeatureWriter {
    file: File,
    path: PathBuf,
    header: Header,
}

impl FeatureWriter {
    /// Opens the file for writing. Rows of the same key and size that are there already are kept,
    /// anything else is replaced. Waits while another process writes the same file.
    pub fn open(
        path: &Path,
        key: FeatureKey,
        rows: usize,
        width: usize,
    ) -> Result<Self, FeatureError> {
        let open = || -> io::Result<Self> {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?;
            file.lock()?;
            let mut header = Header {
                key,
                rows: rows as u64,
                width: width as u64,
                done: 0,
            };
            if let Some(found) = Header::read(&file)?
                && (found.key, found.rows, found.width) == (header.key, header.rows, header.width)
                && found.done <= found.rows
                && file.metadata()?.len() >= found.end(found.done)
            {
                header.done = found.done;
            }
            header.write(&file)?;
            file.set_len(header.end(header.done))?;
            Ok(Self {
                file,
                path: path.into(),
                header,
            })
        };
        open().map_err(|error| FeatureError::io("write", path, error))
    }

    /// Returns the number of rows that are done.
    pub fn done(&self) -> usize {
        self.header.done as usize
    }

    /// Adds whole rows. When this returns they are on the disk.
    ///
    /// # Panics
    ///
    /// If the values are no whole rows, or more than are still wanted.
    pub fn append(&mut self, values: &[f32]) -> Result<(), FeatureError> {
        let width = self.header.width as usize;
        assert!(
            values.len().is_multiple_of(width),
            "whole rows of {width} values"
        );
        let done = self.header.done + (values.len() / width) as u64;
        assert!(
            done <= self.header.rows,
            "at most {} rows",
            self.header.rows
        );
        let mut write = || -> io::Result<()> {
            self.file
                .seek(SeekFrom::Start(self.header.end(self.header.done)))?;
            let bytes: Vec<u8> = values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            self.file.write_all(&bytes)?;
            // In this order: the count must never be ahead of the rows.
            self.file.sync_data()?;
            self.header.done = done;
            self.header.write(&self.file)?;
            self.file.sync_data()
        };
        write().map_err(|error| FeatureError::io("write", &self.path, error))
    }
}

/// Checksum of the weights, the preprocessing and the data that features were computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureKey(pub [u8; 32]);

impl std::fmt::Display for FeatureKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

/// Size of the header; the rows begin here.
const HEADER: usize = 64;

const MAGIC: &[u8; 8] = b"kilnfea1";

/// Magic, key, then three numbers of 64 bits: rows, values in a row, rows done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    pub key: FeatureKey,
    pub rows: u64,
    pub width: u64,
    pub done: u64,
}

impl Header {
    /// Returns the length of a complete file in bytes.
    pub fn length(&self) -> u64 {
        self.end(self.rows)
    }

    /// Returns the offset at which so many rows end.
    pub fn end(&self, rows: u64) -> u64 {
        HEADER as u64 + rows * self.width * 4
    }

    /// Reads the header; none where the file does not begin with one.
    pub fn read(mut file: &File) -> io::Result<Option<Self>> {
        let mut bytes = [0; HEADER];
        file.seek(SeekFrom::Start(0))?;
        match file.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let (magic, rest) = bytes.split_at(MAGIC.len());
        let (key, numbers) = rest.split_at(32);
        let (numbers, _) = numbers.as_chunks::<8>();
        let [rows, width, done] = [0, 1, 2].map(|at| u64::from_le_bytes(numbers[at]));
        let key = FeatureKey(key.try_into().expect("32 bytes were split off"));
        Ok((magic == MAGIC).then_some(Self {
            key,
            rows,
            width,
            done,
        }))
    }

    /// Writes the header.
    pub fn write(&self, mut file: &File) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.key.0);
        for number in [self.rows, self.width, self.done] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: FeatureKey = FeatureKey([7; 32]);

    fn path(folder: &tempfile::TempDir) -> std::path::PathBuf {
        folder.path().join("deep/features.bin")
    }

    #[test]
    fn rows_read_back_and_an_interrupted_file_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(&folder);
        assert!(Features::open(&path, KEY, 3, 2).unwrap().is_none());
        let mut writer = FeatureWriter::open(&path, KEY, 3, 2).unwrap();
        writer.append(&[1.0, 2.0]).unwrap();
        drop(writer);
        assert!(
            Features::open(&path, KEY, 3, 2).unwrap().is_none(),
            "incomplete"
        );
        let mut writer = FeatureWriter::open(&path, KEY, 3, 2).unwrap();
        assert_eq!(writer.done(), 1);
        writer.append(&[3.0, 4.0, 5.0, f32::NAN]).unwrap();
        drop(writer);
        let features = Features::open(&path, KEY, 3, 2).unwrap().expect("complete");
        assert_eq!((features.rows(), features.width()), (3, 2));
        let mut row = [0.0; 2];
        features.row(1, &mut row);
        assert_eq!(row.map(f32::to_bits), [3.0_f32, 4.0].map(f32::to_bits));
        features.row(2, &mut row);
        assert!(row[1].is_nan());
    }

    #[test]
    fn another_key_or_size_starts_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(&folder);
        FeatureWriter::open(&path, KEY, 1, 1)
            .unwrap()
            .append(&[1.0])
            .unwrap();
        for (key, rows, width) in [(FeatureKey([8; 32]), 1, 1), (KEY, 2, 1), (KEY, 1, 2)] {
            assert!(Features::open(&path, key, rows, width).unwrap().is_none());
        }
        assert_eq!(
            FeatureWriter::open(&path, FeatureKey([8; 32]), 1, 1)
                .unwrap()
                .done(),
            0
        );
    }

    #[test]
    fn rows_that_did_not_reach_the_disk_are_not_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(&folder);
        let mut writer = FeatureWriter::open(&path, KEY, 4, 1).unwrap();
        writer.append(&[1.0, 2.0]).unwrap();
        drop(writer);
        // As after a crash: more bytes than the header knows of, or fewer.
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend([0; 6]);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(FeatureWriter::open(&path, KEY, 4, 1).unwrap().done(), 2);
        bytes.truncate(HEADER + 5);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(FeatureWriter::open(&path, KEY, 4, 1).unwrap().done(), 0);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let error = FeatureWriter::open(&folder.path().join("file/features"), KEY, 1, 1)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("cannot write"), "{error}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..100), valid in any::<bool>()) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("features.bin");
            if valid && bytes.len() >= 8 {
                bytes[..8].copy_from_slice(b"kilnfea1");
            }
            std::fs::write(&path, &bytes).unwrap();
            let _ = Features::open(&path, KEY, 3, 2).unwrap();
            let _ = FeatureWriter::open(&path, KEY, 3, 2).unwrap();
        }
    }
}
