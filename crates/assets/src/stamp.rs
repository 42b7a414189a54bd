//! Remembering that a file has been checked, so that it is not hashed on every start.

use std::fs::{self, File, Metadata};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::{AssetFile, digest};

/// Whether `folder` holds `file` with the right size and checksum. Hashes it unless a stamp says
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
    let right = File::open(&path)
        .and_then(digest::sha256)
        .is_ok_and(|found| found == file.sha256);
    if right {
        // Of the file as it was before it was hashed: if it changed meanwhile, the stamp does not
        // fit it.
        write(folder, file, &metadata);
    }
    right
}

/// Writes the stamp of a file that has been checked. A stamp that cannot be written, in a read-only
/// cache, only costs time later.
pub(crate) fn write(folder: &Path, file: &AssetFile, metadata: &Metadata) {
    let _ = fs::write(stamp_path(folder, file), text(&file.sha256, metadata));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::file;

    #[test]
    fn a_stamp_saves_hashing_and_any_change_voids_it() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = file("a", b"right");
        let path = folder.path().join("a");
        assert!(!verified(folder.path(), &wanted));
        fs::write(&path, "right").unwrap();
        assert!(verified(folder.path(), &wanted));

        // The content changes behind the stamp's back: only a stamp that is believed can miss it.
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
}
