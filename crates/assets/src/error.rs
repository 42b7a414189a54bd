//! Errors of a fetch: why an asset or a source failed, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use kiln_util::FileError;

use crate::{Asset, AssetFile};

/// Why an asset could not be brought into the cache.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the messages say")]
#[non_exhaustive]
pub enum FetchError {
    /// The asset is not in the cache, and looking elsewhere is forbidden.
    #[error("{} is not in the cache, and offline mode forbids fetching it", wanted.asset)]
    Offline { wanted: Box<Wanted> },
    /// The fetch was cancelled.
    #[error("fetching {asset} was interrupted")]
    Cancelled { asset: String },
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Every source was tried, and none delivered.
    #[error("cannot get {}: no source delivered it{}", wanted.asset, listed(failed))]
    AllSourcesFailed {
        /// The sources in the order tried.
        failed: Vec<FailedSource>,
        wanted: Box<Wanted>,
    },
    /// A file that was supplied is not the one wanted.
    #[error("cannot use {} for {}: {reason}", path.display(), wanted.asset)]
    Supplied {
        path: PathBuf,
        reason: Box<SourceError>,
        wanted: Box<Wanted>,
    },
    /// What was supplied is right, and not everything.
    #[error("took {} from {}, but {} needs more files", taken.join(", "), path.display(), wanted.asset)]
    SuppliedInPart {
        path: PathBuf,
        /// Names of the files that are now in the cache.
        taken: Vec<String>,
        wanted: Box<Wanted>,
    },
}

impl FetchError {
    /// Returns what to do about it.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Offline { wanted } => Some(Hint::LeaveOfflineMode(wanted.as_ref().clone())),
            Self::Cancelled { .. } => Some(Hint::FetchAgain),
            Self::Cache(error) => error.hint(),
            Self::AllSourcesFailed { wanted, .. } => Some(Hint::GoOnline(wanted.as_ref().clone())),
            Self::Supplied { wanted, .. } | Self::SuppliedInPart { wanted, .. } => {
                Some(Hint::Supply(wanted.as_ref().clone()))
            }
        }
    }
}

/// A cache that cannot be found, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// There is no home folder to put the cache in.
    #[error("cannot find a home folder for the cache")]
    NoHome,
    /// Something could not be written.
    #[error("cannot {action} {}: {error}", path.display())]
    Io {
        /// What was tried: `write`, `create the folder`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// The asset's folder could not be locked.
    #[error(transparent)]
    Lock(#[from] FileError),
}

impl CacheError {
    /// Returns what to do about it.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::NoHome => Some(Hint::NameCache),
            Self::Io { .. } | Self::Lock(_) => Some(Hint::RepairCache),
        }
    }

    /// Turns what the operating system says into an error that names the file or folder.
    pub(crate) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io {
            action,
            path: path.to_owned(),
            error,
        }
    }
}

/// What to do about an error of this crate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// Allow the network, or supply these files to [`Fetcher::supply`](crate::Fetcher::supply).
    LeaveOfflineMode(Wanted),
    /// Connect to the network or install a package client that the error names, and fetch again;
    /// or supply these files.
    GoOnline(Wanted),
    /// Supply these files.
    Supply(Wanted),
    /// Fetch again: what was downloaded is kept.
    FetchAgain,
    /// Name a folder for the cache ([`Cache::VARIABLE`](crate::Cache::VARIABLE)).
    NameCache,
    /// Free space in the cache or allow access to it, or name another folder for it.
    RepairCache,
    /// Install ONNX Runtime by hand and name its library, or use another engine.
    InstallOnnxRuntime,
}

/// Files of an asset that are wanted, and where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wanted {
    /// The asset's name.
    pub asset: String,
    /// The files wanted.
    pub files: Vec<AssetFile>,
    /// The folder in the cache that they are stored in.
    pub folder: PathBuf,
    /// Whether the asset consists of one file.
    pub single: bool,
}

impl Wanted {
    /// Lists the files of `asset` that `wanted` picks.
    pub(crate) fn new(asset: &Asset, folder: PathBuf, wanted: impl Fn(&AssetFile) -> bool) -> Self {
        let files = asset.files.iter().filter(|file| wanted(file));
        Self {
            asset: asset.name.clone(),
            files: files.cloned().collect(),
            folder,
            single: asset.files.len() == 1,
        }
    }
}

/// A source and why it did not deliver.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FailedSource {
    /// The address or package.
    pub source: String,
    /// Why it did not deliver.
    pub reason: SourceError,
}

/// Formats two lines for each source.
fn listed(failed: &[FailedSource]) -> String {
    let lines = failed
        .iter()
        .map(|failed| format!("\n  {}\n    {}", failed.source, failed.reason));
    lines.collect()
}

/// Why one source did not deliver. The next source is tried, so that none of these ends a fetch by
/// itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the messages say")]
#[non_exhaustive]
pub enum SourceError {
    /// The server could not be reached or the connection broke.
    #[error("{file}: {reason}")]
    Connection { file: String, reason: String },
    /// The server answered, but not with the file.
    #[error("{file}: expected HTTP status 200, found {status}")]
    Status { file: String, status: u16 },
    /// A download is larger than the file can be.
    #[error("{file}: expected at most {limit} bytes, found more")]
    TooLarge { file: String, limit: u64 },
    /// A file is too short or too long.
    #[error("{file}: expected {expected} bytes, found {found}")]
    Size {
        file: String,
        expected: u64,
        /// A number, or `more`.
        found: String,
    },
    /// A file has the right size and another content.
    #[error("{file}: expected SHA-256 {expected}, found {found}")]
    Checksum {
        file: String,
        expected: String,
        found: String,
    },
    /// A file or an archive could not be read.
    #[error("cannot read {what}: {reason}")]
    Read {
        /// The file, or the member of an archive.
        what: String,
        reason: String,
    },
    /// An archive or a folder lacks a file.
    #[error("{container} has no {member}")]
    Missing { container: String, member: String },
    /// The package client is not installed.
    #[error("{client}: not found on PATH")]
    NoClient {
        /// The programs looked for.
        client: String,
    },
    /// The package client failed.
    #[error("{client}: {reason}")]
    Client {
        client: String,
        /// The line of its output that says why.
        reason: String,
    },
}

/// How a step inside a fetch ends early: with this source, or with the whole fetch.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The next source may do better.
    Source(SourceError),
    /// The fetch was cancelled.
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
