//! Writing features, chunk by chunk.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::header::Header;
use super::{FeatureError, FeatureKey};

/// Writes a file of features, or goes on with one that was interrupted.
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

    /// Number of rows that are done.
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
