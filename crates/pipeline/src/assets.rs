//! Where datasets, pretrained weights and libraries come from.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kiln_assets::{Asset, Cache, Fetched, Fetcher, Origin, Progress};
use kiln_util::CancelToken;

use crate::error::Error;
use crate::event::{Event, Observer, Task};

/// Gets assets by name. [`CachedAssets`] fetches them; a program with files of its own implements
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
        Ok(fetched)
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
        Ok(fetched)
    }

    fn lookup(&self, asset: &Asset) -> Option<Vec<PathBuf>> {
        self.cache.lookup(asset)
    }

    fn cache_root(&self) -> &Path {
        self.cache.root()
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
