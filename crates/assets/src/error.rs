//! Why an asset is not there.

use std::fmt;
use std::path::PathBuf;

use crate::{Asset, AssetFile, CacheError, SourceError};

/// Why an asset could not be brought into the cache.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The asset is not in the cache, and looking elsewhere is forbidden.
    #[error(
        "{asset} is not in the cache, and offline mode forbids getting it: leave offline mode, or {by_hand}"
    )]
    Offline {
        /// The asset's name.
        asset: String,
        /// How to do without a network.
        by_hand: Box<ByHand>,
    },
    /// The user stopped it.
    #[error("getting {asset} was stopped: run the same command again to resume")]
    Cancelled {
        /// The asset's name.
        asset: String,
    },
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// No source delivered.
    #[error(transparent)]
    AllSourcesFailed(Box<AllSourcesFailed>),
    /// A file that was supplied is not the one wanted.
    #[error("cannot use {} for {asset}: {reason}; {by_hand}", path.display())]
    Supplied {
        /// The asset's name.
        asset: String,
        /// The file or folder supplied.
        path: PathBuf,
        /// What is wrong with it.
        reason: Box<SourceError>,
        /// What is wanted.
        by_hand: Box<ByHand>,
    },
    /// What was supplied is right, and not everything.
    #[error("took {} from {}, but {asset} needs more files; {by_hand}", taken.join(", "), path.display())]
    SuppliedInPart {
        /// The asset's name.
        asset: String,
        /// The file or folder supplied.
        path: PathBuf,
        /// The names of the files that are now in the cache.
        taken: Vec<String>,
        /// The files still missing.
        by_hand: Box<ByHand>,
    },
}

/// Every source was tried, and none delivered.
#[derive(Debug, Clone, thiserror::Error)]
pub struct AllSourcesFailed {
    /// The asset's name.
    pub asset: String,
    /// The sources in the order tried.
    pub failed: Vec<FailedSource>,
    /// How to do without them.
    pub by_hand: ByHand,
}

/// A source and why it did not deliver.
#[derive(Debug, Clone)]
pub struct FailedSource {
    /// The address or package.
    pub source: String,
    /// Why it did not deliver.
    pub reason: SourceError,
}

impl fmt::Display for AllSourcesFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cannot get {}: no source delivered it", self.asset)?;
        for FailedSource { source, reason } in &self.failed {
            writeln!(f, "  {source}\n    {reason}")?;
        }
        write!(
            f,
            "Go online or install a package client named above and try again, or {}",
            self.by_hand
        )
    }
}

/// Tells which files to supply and how. Reads as the end of a sentence: "get … and run …".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByHand {
    /// The asset's name.
    pub asset: String,
    /// The files wanted.
    pub files: Vec<AssetFile>,
    /// Where in the cache they go.
    pub folder: PathBuf,
    /// Whether the asset consists of one file.
    pub single: bool,
}

impl ByHand {
    /// Asks for the files of `asset` that `wanted` picks.
    pub(crate) fn new(asset: &Asset, folder: PathBuf, wanted: impl Fn(&AssetFile) -> bool) -> Self {
        Self {
            asset: asset.name.clone(),
            files: asset
                .files
                .iter()
                .filter(|file| wanted(file))
                .cloned()
                .collect(),
            folder,
            single: asset.files.len() == 1,
        }
    }
}

impl fmt::Display for ByHand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.asset;
        if self.single {
            write!(
                f,
                "run `kiln fetch {name} --from FILE` with this file, or an archive (.gz, .tgz, .zip, .whl) of it:"
            )?;
        } else {
            write!(
                f,
                "run `kiln fetch {name} --from FOLDER` with a folder, or an archive (.tgz, .zip), of:"
            )?;
        }
        for AssetFile { name, size, sha256 } in &self.files {
            write!(f, "\n  {name}, {size} bytes, SHA-256 {sha256}")?;
        }
        write!(
            f,
            "\nWhat is supplied is checked and stored in {}",
            self.folder.display()
        )
    }
}

/// How a step inside a fetch ends early: with this source, or with the whole fetch.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The next source may do better.
    Source(SourceError),
    /// No source can: the user stopped it, or the cache is full.
    Cancelled,
    /// The cache cannot be written.
    Cache(CacheError),
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl From<CacheError> for Failure {
    fn from(error: CacheError) -> Self {
        Self::Cache(error)
    }
}
