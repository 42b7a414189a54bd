//! Files that were named in place of a list of images.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use kiln_preprocess::is_image_name;

use crate::hint::Hint;

/// Endings of files that are known and no lists.
const OTHERS: [(&str, &str); 8] = [
    ("toml", "a TOML file"),
    ("onnx", "an ONNX model"),
    ("json", "a JSON file"),
    ("jsonl", "a file of JSON lines"),
    ("html", "an HTML page"),
    ("safetensors", "a file of weights"),
    ("zip", "an archive"),
    ("gz", "a compressed file"),
];

/// A file that was named in place of a list of images.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is {found}: expected a CSV file with the columns path and label, a folder, or a dataset", path.display())]
pub struct NotAList {
    /// The file.
    pub path: PathBuf,
    /// What it seems to be.
    pub found: &'static str,
}

impl NotAList {
    /// Returns what to do about it.
    pub const fn hint(&self) -> Option<Hint> {
        Some(Hint::UseDataset)
    }
}

/// Refuses a file that is no list: an image, a recipe, a model, or anything that is not text. What
/// looks like text is left to the reader of lists.
pub(crate) fn check_list(path: &Path) -> Result<(), NotAList> {
    let ending = path
        .extension()
        .and_then(OsStr::to_str)
        .map(str::to_lowercase);
    let other = OTHERS
        .iter()
        .find(|(known, _)| ending.as_deref() == Some(known));
    let found = if is_image_name(path) {
        "an image"
    } else if let Some((_, found)) = other {
        found
    } else if is_binary(path) {
        "not text"
    } else {
        return Ok(());
    };
    Err(NotAList {
        path: PathBuf::from(path),
        found,
    })
}

/// Whether a regular file begins with a byte that no text has; pipes are not touched.
fn is_binary(path: &Path) -> bool {
    let mut start = [0; 512];
    let mut read = || {
        let mut file = File::open(path).ok()?;
        file.metadata().ok()?.is_file().then_some(())?;
        file.read(&mut start).ok()
    };
    let length = read().unwrap_or(0);
    start[..length].contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_lists_are_named_as_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            check_list(&path).map_err(|error| error.to_string())
        };
        assert_eq!(check("list.csv", b"path,label\n"), Ok(()));
        assert_eq!(check("list", b"path,label\n"), Ok(()));
        for (name, content, found) in [
            (
                "recipe.toml",
                &b"name = \"x\"\n"[..],
                "is a TOML file: expected a CSV file",
            ),
            ("cat.PNG", b"", "is an image: expected a CSV file"),
            ("blob", b"\x08\0\0", "is not text: expected a CSV file"),
        ] {
            let message = check(name, content).unwrap_err();
            assert!(
                message.contains(name) && message.contains(found),
                "{message}"
            );
        }
    }
}
