//! The first bytes of a file of features.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use kiln_util::Hex;

/// What features were computed by: a checksum of weights, preprocessing and data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureKey(pub [u8; 32]);

impl std::fmt::Display for FeatureKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

/// Size of the header; the rows begin here.
pub(super) const HEADER: usize = 64;

const MAGIC: &[u8; 8] = b"kilnfea1";

/// Magic, key, then three numbers of 64 bits: rows, values in a row, rows done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub key: FeatureKey,
    pub rows: u64,
    pub width: u64,
    pub done: u64,
}

impl Header {
    /// Length of a complete file in bytes.
    pub fn length(&self) -> u64 {
        self.end(self.rows)
    }

    /// Where so many rows end.
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
