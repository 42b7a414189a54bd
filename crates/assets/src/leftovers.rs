//! Clearing away what a process left behind that was killed.

use std::fs;
use std::path::Path;

/// Beginnings of the names of temporary files, and of the folders in which package clients work.
pub(crate) const TEMPORARY: [&str; 2] = [".tmp-", ".client-"];

/// Ending of the names of unfinished downloads.
pub(crate) const PART: &str = ".part";

/// Removes temporary files and folders. They are nobody's while the asset's lock is held.
pub(crate) fn remove_temporary(folder: &Path) {
    remove(folder, |name| {
        TEMPORARY.iter().any(|start| name.starts_with(start))
    });
}

/// Removes unfinished downloads, of no use once the asset is complete.
pub(crate) fn remove_parts(folder: &Path) {
    remove(folder, |name| name.starts_with('.') && name.ends_with(PART));
}

/// What cannot be removed only takes up space.
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

    #[test]
    fn only_leftovers_go() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".tmp-1", ".a.part", "a.part", ".a.verified", ".lock", "a"] {
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
