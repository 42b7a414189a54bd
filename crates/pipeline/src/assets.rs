//! Where datasets, pretrained weights and libraries come from.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kiln_assets::{Asset, Cache, Fetched, Fetcher, Origin, Progress};
use kiln_util::CancelToken;

use crate::error::Error;
use crate::event::{Event, Observer, Task};
use crate::networks;

/// Gets assets by name. The file of a network, such as `efficientnet-lite0`, is its ONNX model, whatever
/// its weights are published as. [`CachedAssets`] fetches them; a program with files of its own implements
/// this.
pub trait AssetProvider: Sync {
    /// Returns the files of an asset, getting them first if need be.
    fn require(
        &self,
        asset: &Asset,
        observer: &dyn Observer,
        cancel: &CancelToken,
    ) -> Result<Fetched, Error>;

    /// Returns the files of an asset if they are on the machine.
    fn lookup(&self, asset: &Asset) -> Option<Vec<PathBuf>>;

    /// The folder for what is computed once and kept, such as features of a frozen prefix.
    fn cache_root(&self) -> &Path;
}

/// Assets in kiln's cache, fetched when they are missing.
#[derive(Debug, Clone)]
pub struct CachedAssets {
    cache: Cache,
    offline: bool,
}

impl CachedAssets {
    /// The user's cache (`KILN_CACHE`, or the system's cache folder); offline if `KILN_OFFLINE` is
    /// set and not 0.
    pub fn from_env() -> Result<Self, Error> {
        let offline =
            std::env::var_os("KILN_OFFLINE").is_some_and(|value| !value.is_empty() && value != "0");
        Ok(Self::new(Cache::from_env()?, offline))
    }

    /// A cache, and whether only what is in it may be used.
    pub const fn new(cache: Cache, offline: bool) -> Self {
        Self { cache, offline }
    }

    /// Uses only what is in the cache, if `offline` or if this is so already.
    #[must_use]
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline |= offline;
        self
    }

    /// The cache.
    pub const fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Takes an asset from a file, folder or archive of the user's into the cache.
    pub fn supply(
        &self,
        asset: &Asset,
        from: &Path,
        observer: &dyn Observer,
        cancel: &CancelToken,
    ) -> Result<Fetched, Error> {
        let progress = Reporter::new(observer);
        let fetched = self.fetcher(&progress, cancel).supply(asset, from)?;
        report(&fetched, observer);
        finished(asset, fetched)
    }

    fn fetcher<'a>(&self, progress: &'a Reporter<'_>, cancel: &'a CancelToken) -> Fetcher<'a> {
        Fetcher::new(self.cache.clone(), progress, cancel).with_offline(self.offline)
    }
}

impl AssetProvider for CachedAssets {
    fn require(
        &self,
        asset: &Asset,
        observer: &dyn Observer,
        cancel: &CancelToken,
    ) -> Result<Fetched, Error> {
        if let Some(network) = networks::of(asset)
            && self.lookup(asset).is_some()
        {
            let folder = self.cache.folder(asset);
            let files = Vec::new();
            return networks::converted(network, asset, Fetched { folder, files });
        }
        if self.cache.lookup(asset).is_none() && !self.offline {
            observer.event(&Event::Fetching {
                asset: &asset.name,
                bytes: asset.size(),
                license: &asset.license,
            });
        }
        let _watch = cancel.watch();
        let progress = Reporter::new(observer);
        let fetched = self.fetcher(&progress, cancel).fetch(asset)?;
        report(&fetched, observer);
        finished(asset, fetched)
    }

    fn lookup(&self, asset: &Asset) -> Option<Vec<PathBuf>> {
        match networks::of(asset) {
            Some(network) => {
                let model = networks::file(network, &self.cache.folder(asset));
                model.is_file().then(|| vec![model])
            }
            None => self.cache.lookup(asset),
        }
    }

    fn cache_root(&self) -> &Path {
        self.cache.root()
    }
}

/// Returns what an asset is fetched for: of weights, the model that they become.
fn finished(asset: &Asset, fetched: Fetched) -> Result<Fetched, Error> {
    match networks::of(asset) {
        Some(network) => networks::converted(network, asset, fetched),
        None => Ok(fetched),
    }
}

/// Reports where files came from that were not in the cache.
fn report(fetched: &Fetched, observer: &dyn Observer) {
    let sources = fetched.origins().into_iter();
    let sources: Vec<String> = sources
        .filter(|origin| **origin != Origin::Cache)
        .map(ToString::to_string)
        .collect();
    if !sources.is_empty() {
        observer.event(&Event::Fetched {
            folder: &fetched.folder,
            sources: &sources,
        });
    }
}

/// A fetch's steps as tasks. Steps do not nest.
struct Reporter<'a> {
    observer: &'a dyn Observer,
    step: Mutex<Option<Step>>,
}

struct Step {
    what: String,
    done: u64,
    total: Option<u64>,
}

impl<'a> Reporter<'a> {
    fn new(observer: &'a dyn Observer) -> Self {
        Self {
            observer,
            step: Mutex::new(None),
        }
    }

    fn step(&self) -> MutexGuard<'_, Option<Step>> {
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Reporter<'_> {
    fn begin(&self, what: &str, total: Option<u64>) {
        *self.step() = Some(Step {
            what: what.to_owned(),
            done: 0,
            total,
        });
        let task = Task::Fetch { what };
        self.observer.event(&Event::TaskStarted { task, total });
    }

    fn advance(&self, bytes: u64) {
        if let Some(step) = &mut *self.step() {
            step.done += bytes;
            self.observer.event(&Event::TaskAdvanced {
                task: Task::Fetch { what: &step.what },
                done: step.done,
                resumed: 0,
                total: step.total,
            });
        }
    }

    fn finish(&self) {
        if let Some(step) = self.step().take() {
            let task = Task::Fetch { what: &step.what };
            self.observer.event(&Event::TaskFinished { task });
        }
    }

    fn message(&self, text: &str) {
        self.observer.event(&Event::FetchMessage(text));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use kiln_assets::FetchError;
    use kiln_zoo::Network;

    use super::*;

    #[test]
    fn a_converted_network_needs_no_weights() {
        let folder = tempfile::tempdir().unwrap();
        let assets = CachedAssets::new(Cache::at(folder.path()), true);
        let asset = Asset::squeezenet();
        let observer = |_: &Event<'_>| {};
        let require = || assets.require(&asset, &observer, &CancelToken::new());
        assert_eq!(assets.lookup(&asset), None);
        assert!(matches!(
            require(),
            Err(Error::Fetch(FetchError::Offline { .. }))
        ));

        let path = networks::file(Network::SqueezeNet, &assets.cache().folder(&asset));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "model").unwrap();
        assert_eq!(assets.lookup(&asset), Some(vec![path.clone()]));
        let fetched = require().unwrap();
        assert_eq!((fetched.files.len(), fetched.bytes()), (1, 5));
        assert_eq!(fetched.files[0].path, path);
    }
}
