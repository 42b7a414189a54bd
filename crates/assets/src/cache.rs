//! The cache: where files of assets are kept, and whether they are what they should be.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use etcetera::BaseStrategy;

use kiln_util::{Hex, is_temporary_name, sha256};

use crate::{Asset, AssetFile, CacheError};

/// The folder that holds fetched files, as `<cache>/<asset>/<version>/<file>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Environment variable that names the cache.
    pub const VARIABLE: &str = "KILN_CACHE";

    /// Returns the cache named by the environment variable `KILN_CACHE`, else `kiln` in the user's cache
    /// folder: `~/.cache` (or `XDG_CACHE_HOME`) on Linux, `~/Library/Caches` on macOS, the local
    /// application data on Windows.
    pub fn from_env() -> Result<Self, CacheError> {
        Self::resolve(std::env::var_os(Self::VARIABLE).as_deref())
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

    /// Returns the cache in this folder, which need not exist yet. A relative path counts from the
    /// folder that is current now.
    pub fn at(folder: impl AsRef<Path>) -> Self {
        let folder = folder.as_ref();
        Self {
            root: std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()),
        }
    }

    /// Returns the folder of the cache.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the folder of an asset's files, whether or not they are there.
    pub fn folder(&self, asset: &Asset) -> PathBuf {
        self.root.join(&asset.name).join(&asset.version)
    }

    /// Returns the asset's files, in its order, if all are there and right.
    ///
    /// A file is hashed once; a stamp beside it remembers the checksum with the file's size and
    /// modification time, and any difference has it hashed again.
    pub fn lookup(&self, asset: &Asset) -> Option<Vec<PathBuf>> {
        let folder = self.folder(asset);
        asset
            .files
            .iter()
            .map(|file| verified(&folder, file).then(|| folder.join(&file.name)))
            .collect()
    }
}

/// State of an asset's file in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    /// The cache has no such file.
    Missing,
    /// Its checksum is right.
    Right,
    /// Its size or checksum is wrong, or it cannot be read: the reason.
    Damaged(String),
}

impl Cache {
    /// Reads the files of an asset as they are in the cache and compares their checksums;
    /// [`lookup`](Self::lookup) believes its stamps instead.
    pub fn inspect(&self, asset: &Asset) -> Vec<(PathBuf, FileState)> {
        let folder = self.folder(asset);
        asset
            .files
            .iter()
            .map(|file| {
                (
                    folder.join(&file.name),
                    inspect(&folder.join(&file.name), file),
                )
            })
            .collect()
    }
}

fn inspect(path: &Path, file: &AssetFile) -> FileState {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return FileState::Missing,
        Err(error) => return FileState::Damaged(error.to_string()),
    };
    if !metadata.is_file() || metadata.len() != file.size {
        return FileState::Damaged(format!(
            "it has {} bytes, expected a file of {}",
            metadata.len(),
            file.size
        ));
    }
    match hash(path) {
        Ok(found) if found == file.sha256 => FileState::Right,
        Ok(found) => {
            FileState::Damaged(format!("its SHA-256 is {found}, expected {}", file.sha256))
        }
        Err(error) => FileState::Damaged(error.to_string()),
    }
}

/// Returns whether `folder` holds `file` with the right size and checksum. Hashes it unless a stamp says
/// that exactly this file has been hashed before. A file that cannot be read does not count as
/// there.
pub(crate) fn verified(folder: &Path, file: &AssetFile) -> bool {
    let path = folder.join(&file.name);
    let Ok(metadata) = fs::metadata(&path) else {
        return false;
    };
    if !metadata.is_file() || metadata.len() != file.size {
        return false;
    }
    if fs::read_to_string(stamp_path(folder, file))
        .is_ok_and(|stamp| stamp == text(&file.sha256, &metadata))
    {
        return true;
    }
    let right = hash(&path).is_ok_and(|found| found == file.sha256);
    if right {
        // Of the file as it was before it was hashed: if it changed meanwhile, the stamp does not
        // fit it.
        write_stamp(folder, file, &metadata);
    }
    right
}

/// Writes the stamp of a file that has been checked. A stamp that cannot be written, in a read-only
/// cache, only costs time later.
pub(crate) fn write_stamp(folder: &Path, file: &AssetFile, metadata: &Metadata) {
    let _ = fs::write(stamp_path(folder, file), text(&file.sha256, metadata));
}

/// Computes a file's checksum as 64 lower-case digits.
fn hash(path: &Path) -> io::Result<String> {
    Ok(Hex(&sha256(File::open(path)?)?).to_string())
}

fn stamp_path(folder: &Path, file: &AssetFile) -> PathBuf {
    folder.join(format!(".{}.verified", file.name))
}

/// Checksum, size in bytes and modification time in nanoseconds since 1970.
fn text(sha256: &str, metadata: &Metadata) -> String {
    let modified = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!(
        "{sha256} {} {}\n",
        metadata.len(),
        modified.map_or(0, |since| since.as_nanos())
    )
}

/// Beginning of the names of the folders in which package clients work.
pub(crate) const CLIENT_FOLDER: &str = ".client-";

/// Ending of the names of unfinished downloads.
pub(crate) const PART: &str = ".part";

/// Removes temporary files and folders. While the asset's lock is held, no process uses them.
pub(crate) fn remove_temporary(folder: &Path) {
    remove(folder, |name| {
        // `.tmp-` is what earlier versions left.
        is_temporary_name(name)
            || [CLIENT_FOLDER, ".tmp-"]
                .iter()
                .any(|start| name.starts_with(start))
    });
}

/// Removes unfinished downloads, of no use once the asset is complete.
pub(crate) fn remove_parts(folder: &Path) {
    remove(folder, |name| name.starts_with('.') && name.ends_with(PART));
}

/// Removes entries; one that cannot be removed only takes up space.
fn remove(folder: &Path, which: impl Fn(&str) -> bool) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(&which) {
            let path = entry.path();
            let _ = if path.is_dir() {
                fs::remove_dir_all(path)
            } else {
                fs::remove_file(path)
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::file;

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

    #[test]
    fn a_stamp_hides_no_damage() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::at(root.path());
        let asset = Asset {
            files: vec![file("a", b"right")],
            ..Asset::mnist()
        };
        let states = || {
            cache
                .inspect(&asset)
                .into_iter()
                .map(|(_, state)| state)
                .collect::<Vec<_>>()
        };
        assert_eq!(states(), [FileState::Missing]);

        let path = cache.folder(&asset).join("a");
        fs::create_dir_all(cache.folder(&asset)).unwrap();
        fs::write(&path, "wrong").unwrap();
        write_stamp(
            &cache.folder(&asset),
            &asset.files[0],
            &fs::metadata(&path).unwrap(),
        );
        assert!(cache.lookup(&asset).is_some(), "the stamp is believed");
        assert!(matches!(&states()[..], [FileState::Damaged(why)] if why.contains("SHA-256")));

        fs::write(&path, "right").unwrap();
        assert_eq!(states(), [FileState::Right]);
        fs::write(&path, "too long").unwrap();
        assert!(
            matches!(&states()[..], [FileState::Damaged(why)] if why.contains("8 bytes, expected a file of 5"))
        );
    }

    #[test]
    fn a_stamp_saves_hashing_and_any_change_voids_it() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = file("a", b"right");
        let path = folder.path().join("a");
        assert!(!verified(folder.path(), &wanted));
        fs::write(&path, "right").unwrap();
        assert!(verified(folder.path(), &wanted));

        // The content changes and the stamp does not show it: only a stamp that is believed can miss it.
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "wrong").unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(modified)
            .unwrap();
        assert!(verified(folder.path(), &wanted));

        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(UNIX_EPOCH)
            .unwrap();
        assert!(!verified(folder.path(), &wanted));
        fs::write(&path, "longer").unwrap();
        assert!(!verified(folder.path(), &wanted));
    }

    #[test]
    fn a_torn_stamp_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = file("a", b"right");
        fs::write(folder.path().join("a"), "wrong").unwrap();
        fs::write(stamp_path(folder.path(), &wanted), &wanted.sha256).unwrap();
        assert!(!verified(folder.path(), &wanted));
    }

    #[test]
    fn only_leftovers_go() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            ".kiln-1.tmp",
            ".tmp-1",
            ".a.part",
            "a.part",
            ".a.verified",
            ".lock",
            "a",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir_all(folder.path().join(".client-1/archive")).unwrap();
        let names = || {
            let entries = fs::read_dir(folder.path()).unwrap();
            let mut names: Vec<_> = entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        remove_temporary(folder.path());
        assert_eq!(names(), [".a.part", ".a.verified", ".lock", "a", "a.part"]);
        remove_parts(folder.path());
        assert_eq!(names(), [".a.verified", ".lock", "a", "a.part"]);
    }
}
