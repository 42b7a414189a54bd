//! The models in service by name and version, and how that changes without a lost request.

mod folder;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;

use tracing::{error, info};

pub use folder::{FolderError, Location};

use crate::metrics::Metrics;
use crate::model::{LoadError, Served, Settings};
use folder::{Catalog, Found};

/// The models in service.
#[derive(Debug)]
pub struct Repository {
    locations: Vec<Location>,
    settings: Settings,
    /// How many of a model's versions are kept in service, the newest.
    versions: usize,
    metrics: Arc<Metrics>,
    models: RwLock<BTreeMap<String, Versions>>,
    /// Held while models are loaded and unloaded, so that only one thread does.
    change: Mutex<()>,
}

#[derive(Debug, Default)]
struct Versions {
    loaded: BTreeMap<u64, (Arc<Served>, Found)>,
    /// Those that could not be loaded, and why.
    failed: BTreeMap<u64, (Found, String)>,
    /// Whether it was unloaded by request, and stays so until it is loaded by one.
    unloaded: bool,
}

/// A model or version that is not in service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// No model has the name.
    #[error("there is no model `{name}`: expected {}", listed(.known))]
    Model {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// A request names no model, and there is not exactly one.
    #[error("the request names no model, and there are {}", listed(.known))]
    NotNamed {
        /// Those that there are.
        known: Vec<String>,
    },
    /// The model has no such version.
    #[error("the model `{name}` has no version `{version}`: expected {}", listed(.known))]
    Version {
        /// The model's name.
        name: String,
        /// The version.
        version: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The model is known, and not in service.
    #[error("the model `{name}` is not in service: {reason}")]
    NotReady {
        /// The model's name.
        name: String,
        /// Why.
        reason: String,
    },
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "none".into();
    }
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// Why models cannot be loaded or unloaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// They cannot be found.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// One cannot be put into service.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// No model has the name.
    #[error(transparent)]
    Unknown(#[from] LookupError),
}

/// A version of a model, and whether it is in service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The model's name.
    pub name: String,
    /// The version.
    pub version: u64,
    /// Whether it answers requests.
    pub is_ready: bool,
    /// Why not.
    pub reason: String,
}

impl Repository {
    /// Returns a repository without models; [`rescan`](Self::rescan) loads them. `versions` is how many of each
    /// model are kept in service, at least one.
    pub fn new(
        locations: Vec<Location>,
        settings: Settings,
        versions: usize,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            locations,
            settings,
            versions: versions.max(1),
            metrics,
            models: RwLock::default(),
            change: Mutex::default(),
        }
    }

    /// Returns a version of a model, or the newest if none is named. Without a name it is the only model.
    ///
    /// # Errors
    ///
    /// Returns that it is not there, and what is.
    pub fn get(
        &self,
        name: Option<&str>,
        version: Option<&str>,
    ) -> Result<Arc<Served>, LookupError> {
        let models = self.read();
        let known = || models.keys().cloned().collect();
        let (name, versions) = match name {
            Some(name) => models
                .get_key_value(name)
                .ok_or_else(|| LookupError::Model {
                    name: name.to_owned(),
                    known: known(),
                })?,
            None => match models.iter().next() {
                Some(only) if models.len() == 1 => only,
                _ => return Err(LookupError::NotNamed { known: known() }),
            },
        };
        if versions.loaded.is_empty() {
            let reason = match versions.failed.values().next_back() {
                _ if versions.unloaded => "it was unloaded".to_owned(),
                Some((_, reason)) => reason.clone(),
                None => "it is being loaded".to_owned(),
            };
            return Err(LookupError::NotReady {
                name: name.clone(),
                reason,
            });
        }
        let found = match version {
            None => versions.loaded.values().next_back(),
            Some(version) => version
                .parse()
                .ok()
                .and_then(|version: u64| versions.loaded.get(&version)),
        };
        let (served, _) = found.ok_or_else(|| LookupError::Version {
            name: name.clone(),
            version: version.unwrap_or_default().to_owned(),
            known: versions.loaded.keys().map(u64::to_string).collect(),
        })?;
        Ok(Arc::clone(served))
    }

    /// Returns the versions of a model in service, ascending.
    pub fn versions(&self, name: &str) -> Vec<String> {
        let models = self.read();
        let versions = models.get(name).map(|it| it.loaded.keys());
        versions.into_iter().flatten().map(u64::to_string).collect()
    }

    /// Returns the newest version in service of each model, by name.
    pub fn models(&self) -> Vec<Arc<Served>> {
        let models = self.read();
        let newest = models
            .values()
            .filter_map(|it| it.loaded.values().next_back());
        newest.map(|(served, _)| Arc::clone(served)).collect()
    }

    /// Returns every version that is known.
    pub fn index(&self) -> Vec<Status> {
        let models = self.read();
        let mut all = Vec::new();
        for (name, versions) in models.iter() {
            let status = |version: u64, is_ready: bool, reason: &str| Status {
                name: name.clone(),
                version,
                is_ready,
                reason: reason.to_owned(),
            };
            all.extend(versions.loaded.keys().map(|&it| status(it, true, "")));
            let failed = versions.failed.iter();
            all.extend(
                failed
                    .filter(|(it, _)| !versions.loaded.contains_key(it))
                    .map(|(&it, (_, reason))| status(it, false, reason)),
            );
            if versions.unloaded {
                all.push(status(1, false, "unloaded"));
            }
        }
        all
    }

    /// Returns whether every model has a version in service, those aside that were unloaded by request.
    pub fn is_ready(&self) -> bool {
        let models = self.read();
        let mut versions = models.values();
        !models.is_empty() && versions.all(|it| it.unloaded || !it.loaded.is_empty())
    }

    /// Looks at the files again: loads versions that are new or changed, and takes those out of service that are gone.
    /// A version whose new file cannot be loaded goes on with its old one. Returns the first error, after all else is
    /// done.
    ///
    /// # Errors
    ///
    /// Returns that the files cannot be found, or the first that cannot be loaded.
    pub fn rescan(&self) -> Result<(), ChangeError> {
        let _change = self.lock();
        let catalog = self.find()?;
        let names: BTreeSet<String> = {
            let models = self.read();
            catalog.keys().chain(models.keys()).cloned().collect()
        };
        let mut first = Ok(());
        for name in names {
            let is_unloaded = self.read().get(&name).is_some_and(|it| it.unloaded);
            if is_unloaded {
                continue;
            }
            let result = self.update(&name, catalog.get(&name), false);
            if first.is_ok() {
                first = result;
            }
        }
        first
    }

    /// Loads a model, or loads it again.
    ///
    /// # Errors
    ///
    /// Returns that no file has the name, or why it cannot be loaded; then what was in service stays.
    pub fn load(&self, name: &str) -> Result<(), ChangeError> {
        let _change = self.lock();
        let catalog = self.find()?;
        let Some(found) = catalog.get(name) else {
            return Err(LookupError::Model {
                name: name.to_owned(),
                known: catalog.into_keys().collect(),
            }
            .into());
        };
        self.update(name, Some(found), true)
    }

    /// Takes a model out of service, until it is loaded by request. What is in its queue is still answered.
    ///
    /// # Errors
    ///
    /// Returns that no model has the name.
    pub fn unload(&self, name: &str) -> Result<(), LookupError> {
        let _change = self.lock();
        let mut models = self.write();
        let known = models.keys().cloned().collect();
        let versions = models.get_mut(name).ok_or_else(|| LookupError::Model {
            name: name.to_owned(),
            known,
        })?;
        let loaded = std::mem::take(&mut versions.loaded);
        versions.failed.clear();
        versions.unloaded = true;
        drop(models);
        info!(model = name, "model is unloaded");
        retire(
            loaded.into_values().map(|(served, _)| served),
            Served::withdraw,
        );
        Ok(())
    }

    fn find(&self) -> Result<Catalog, FolderError> {
        let mut catalog = folder::find(&self.locations)?;
        for versions in catalog.values_mut() {
            while versions.len() > self.versions {
                versions.pop_first();
            }
        }
        Ok(catalog)
    }

    /// Brings a model to what was found of it.
    fn update(
        &self,
        name: &str,
        found: Option<&BTreeMap<u64, Found>>,
        again: bool,
    ) -> Result<(), ChangeError> {
        self.write().entry(name.to_owned()).or_default();
        let empty = BTreeMap::new();
        let wanted = found.unwrap_or(&empty);
        let mut first = Ok(());
        // The newest is in service first.
        for (&version, found) in wanted.iter().rev() {
            let known = {
                let models = self.read();
                let versions = models.get(name);
                let loaded = versions.and_then(|it| it.loaded.get(&version));
                let failed = versions.and_then(|it| it.failed.get(&version));
                loaded
                    .map(|(_, found)| found)
                    .into_iter()
                    .chain(failed.map(|(found, _)| found))
                    .any(|known| known == found)
            };
            if known && !again {
                continue;
            }
            let loaded = Served::load(name, version, &found.path, &self.settings, &self.metrics);
            let mut models = self.write();
            let versions = models.entry(name.to_owned()).or_default();
            match loaded {
                Ok(served) => {
                    versions.unloaded = false;
                    versions.failed.remove(&version);
                    let old = versions.loaded.insert(version, (served, found.clone()));
                    drop(models);
                    // From here on requests get the new one. What is in the queue of the old one is answered by it.
                    retire(old.map(|(served, _)| served), Served::retire);
                }
                Err(failure) => {
                    let reason = failure.to_string();
                    versions.failed.insert(version, (found.clone(), reason));
                    drop(models);
                    error!(model = name, version, error = %failure, "cannot load a model");
                    if first.is_ok() {
                        first = Err(failure.into());
                    }
                }
            }
        }
        let mut models = self.write();
        let Some(versions) = models.get_mut(name) else {
            return first;
        };
        versions
            .failed
            .retain(|version, _| wanted.contains_key(version));
        // An older version stays until a newer one is in service.
        let has_one = versions.loaded.keys().any(|it| wanted.contains_key(it));
        let mut gone = Vec::new();
        if has_one || wanted.is_empty() {
            let stays = |version: &u64| wanted.contains_key(version);
            let loaded = std::mem::take(&mut versions.loaded);
            for (version, entry) in loaded {
                if stays(&version) {
                    versions.loaded.insert(version, entry);
                } else {
                    info!(model = name, version, "version is taken out of service");
                    gone.push(entry.0);
                }
            }
        }
        if wanted.is_empty() {
            models.remove(name);
        }
        drop(models);
        retire(gone, Served::withdraw);
        first
    }

    /// Takes every model out of service; what is in the queues is still answered.
    pub fn retire_all(&self) {
        for versions in self.read().values() {
            for (served, _) in versions.loaded.values() {
                served.withdraw();
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Versions>> {
        self.models.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Versions>> {
        self.models.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the service of models that requests no longer find. Freeing one takes time, so another thread does it.
fn retire(models: impl IntoIterator<Item = Arc<Served>>, end: fn(&Served)) {
    let models: Vec<Arc<Served>> = models.into_iter().collect();
    if models.is_empty() {
        return;
    }
    for served in &models {
        end(served);
    }
    thread::spawn(move || drop(models));
}
