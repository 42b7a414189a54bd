//! Where fetched files are kept.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use crate::{Asset, stamp};

/// The folder that holds fetched files, as `<cache>/<asset>/<version>/<file>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

/// A cache that cannot be found, read or written.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// There is no home folder to put the cache in.
    #[error(
        "cannot find your home folder for the cache: set KILN_CACHE to a folder to use instead"
    )]
    NoHome,
    /// Something could not be written.
    #[error("cannot {action} {}: {error}: free space or grant access there, or set KILN_CACHE to another folder", path.display())]
    Io {
        /// What was tried: `write`, `create the folder`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        error: io::Error,
    },
}

impl CacheError {
    /// Turns what the operating system says into an error that names the file or folder.
    pub(crate) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io {
            action,
            path: path.to_owned(),
            error,
        }
    }
}

impl Cache {
    /// The cache named by the environment variable `KILN_CACHE`, else `kiln` in the user's cache
    /// folder: `~/.cache` (or `XDG_CACHE_HOME`) on Linux, `~/Library/Caches` on macOS, the local
    /// application data on Windows.
    pub fn from_env() -> Result<Self, CacheError> {
        Self::resolve(std::env::var_os("KILN_CACHE").as_deref())
    }

    /// [`from_env`](Self::from_env), given the variable's value. An empty one counts as none.
    fn resolve(variable: Option<&OsStr>) -> Result<Self, CacheError> {
        match variable.filter(|value| !value.is_empty()) {
            Some(folder) => Ok(Self::at(folder)),
            None => match etcetera::base_strategy::choose_native_strategy() {
                Ok(strategy) => Ok(Self::at(strategy.cache_dir().join("kiln"))),
                Err(_) => Err(CacheError::NoHome),
            },
        }
    }

    /// The cache in this folder, which need not exist yet. A relative path counts from the current
    /// folder, now.
    pub fn at(folder: impl AsRef<Path>) -> Self {
        let folder = folder.as_ref();
        Self {
            root: std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()),
        }
    }

    /// The cache's own folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of an asset's files, whether or not they are there.
    pub fn folder(&self, asset: &Asset) -> PathBuf {
        self.root.join(&asset.name).join(&asset.version)
    }

    /// The asset's files, in its order, if all are there and right.
    ///
    /// A file is hashed once; a stamp beside it remembers the checksum with the file's size and
    /// modification time, and any difference has it hashed again.
    pub fn lookup(&self, asset: &Asset) -> Option<Vec<PathBuf>> {
        let folder = self.folder(asset);
        asset
            .files
            .iter()
            .map(|file| stamp::verified(&folder, file).then(|| folder.join(&file.name)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_wins_and_an_empty_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let named = Cache::resolve(Some(folder.path().as_os_str())).unwrap();
        assert_eq!(named.root(), folder.path());
        assert_eq!(
            named.folder(&Asset::mnist()),
            folder.path().join("mnist").join("1")
        );
        assert_eq!(
            Cache::resolve(Some(OsStr::new(""))).unwrap(),
            Cache::resolve(None).unwrap()
        );
    }

    #[test]
    fn a_relative_folder_becomes_absolute() {
        assert!(Cache::at("somewhere").root().is_absolute());
    }
}
