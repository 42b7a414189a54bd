//! Features of samples, computed once and kept in a file.
//!
//! A file holds a header and then one row of f32 per sample, little-endian, in the order of the
//! samples. The header has the key that the features were computed by, and how many rows are done;
//! it is brought up to date after the rows have reached the disk, so that an interruption loses at
//! most the rows of one [`append`](FeatureWriter::append).

mod error;
mod header;
mod writer;

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

pub use error::FeatureError;
pub use header::FeatureKey;
pub use writer::FeatureWriter;

use header::{HEADER, Header};

/// A complete file of features, memory-mapped: the system keeps in memory what is used and no more.
#[derive(Debug)]
pub struct Features {
    map: Mmap,
    header: Header,
    /// Holds the lock that keeps other processes from writing.
    _file: File,
}

impl Features {
    /// Opens a file if it is there, complete, and has this key and size; else there is nothing to
    /// open.
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

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.header.rows as usize
    }

    /// Values in a row.
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

#[cfg(test)]
mod tests;
