//! Whether cached files are what they should be, whatever the stamps beside them say.

use std::fs::{self, File};
use std::path::PathBuf;

use crate::{Asset, AssetFile, Cache, digest};

/// How a file of an asset is in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    /// It is not there.
    Missing,
    /// It is there, with the right checksum.
    Right,
    /// It is there and is not what it should be: why.
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

fn inspect(path: &std::path::Path, file: &AssetFile) -> FileState {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return FileState::Missing,
        Err(error) => return FileState::Damaged(error.to_string()),
    };
    if !metadata.is_file() || metadata.len() != file.size {
        return FileState::Damaged(format!(
            "it has {} bytes, expected a file of {}",
            metadata.len(),
            file.size
        ));
    }
    match File::open(path).and_then(digest::sha256) {
        Ok(found) if found == file.sha256 => FileState::Right,
        Ok(found) => {
            FileState::Damaged(format!("its SHA-256 is {found}, expected {}", file.sha256))
        }
        Err(error) => FileState::Damaged(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{stamp, testing::file};

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
        stamp::write(
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
}
