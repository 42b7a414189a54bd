//! Glob patterns.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::error::images::InputsError;

/// Whether this is a pattern rather than the path of something that is there.
pub fn is_pattern(text: &OsStr) -> bool {
    let special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[');
    text.as_encoded_bytes().iter().any(special) && !Path::new(text).exists()
}

/// Returns the files that a pattern matches, sorted by path; at least one.
pub fn files(pattern: &str) -> Result<impl Iterator<Item = Result<PathBuf>> + Send + use<>> {
    let paths = glob::glob(pattern).map_err(|error| InputsError::Pattern {
        pattern: pattern.into(),
        reason: error.to_string(),
    })?;
    let mut files = paths.filter_map(|path| match path {
        Ok(path) => path.is_file().then_some(Ok(path)),
        Err(error) => Some(Err(InputsError::ReadMatch {
            path: error.path().into(),
            source: error.into(),
        }
        .into())),
    });
    let first = files.next().ok_or_else(|| InputsError::NoMatch {
        pattern: pattern.into(),
    })?;
    Ok(std::iter::once(first).chain(files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_expanded_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.png", "a.png", "c.bmp"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let text = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let names: Vec<PathBuf> = files(&text("*.png")).unwrap().map(Result::unwrap).collect();
        assert_eq!(
            names,
            ["a.png", "b.png"].map(|name| folder.path().join(name))
        );
        let message = files(&text("*.gif")).err().unwrap().to_string();
        assert!(message.contains("no file matches"), "{message}");
        assert!(is_pattern(OsStr::new("?.png")) && !is_pattern(folder.path().as_os_str()));
    }
}
