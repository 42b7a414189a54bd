//! What a fetch gives.

use std::fmt;
use std::path::PathBuf;

use crate::Source;

/// An asset that is complete in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The folder that holds the files.
    pub folder: PathBuf,
    /// The files, in the asset's order.
    pub files: Vec<FetchedFile>,
}

/// One file of an asset in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedFile {
    /// Where it is.
    pub path: PathBuf,
    /// Size in bytes.
    pub size: u64,
    /// Where it came from.
    pub origin: Origin,
}

/// Where a file came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It was in the cache.
    Cache,
    /// This source delivered it.
    Source(Source),
    /// It was supplied in this file or folder.
    Supplied(PathBuf),
}

impl Fetched {
    /// Size of all files in bytes.
    pub fn bytes(&self) -> u64 {
        self.files
            .iter()
            .fold(0, |sum, file| sum.saturating_add(file.size))
    }

    /// Where the files came from, each origin once.
    pub fn origins(&self) -> Vec<&Origin> {
        let mut origins = Vec::new();
        for file in &self.files {
            if !origins.contains(&&file.origin) {
                origins.push(&file.origin);
            }
        }
        origins
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cache => f.write_str("cache"),
            Self::Source(source) => source.fmt(f),
            Self::Supplied(path) => path.display().fmt(f),
        }
    }
}
