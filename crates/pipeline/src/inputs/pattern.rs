//! Glob patterns.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kiln_data::SkippedFiles;

use super::findings::Findings;
use crate::error::Result;
use crate::error::images::InputsError;

/// Whether this is a pattern rather than the path of something that is there.
pub fn is_pattern(text: &OsStr) -> bool {
    let special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[');
    let is_there = || Path::new(text).symlink_metadata().is_ok();
    text.as_encoded_bytes().iter().any(special) && !is_there()
}

/// Returns a pattern in which the folders at its beginning that are there, such as `2024 [raw]`, stand
/// for themselves.
fn with_folders_escaped(pattern: &str) -> String {
    let is_separator = |c: char| c == '/' || (cfg!(windows) && c == '\\');
    let ends = pattern.match_indices(is_separator).map(|(at, _)| at + 1);
    let there = |at: &usize| Path::new(&pattern[..*at]).is_dir();
    let end = ends.take_while(there).last().unwrap_or(0);
    let (folders, rest) = pattern.split_at(end);
    glob::Pattern::escape(folders) + rest
}

/// Returns the files that a pattern matches, sorted by path; at least one. Folders that match are
/// skipped, and counted in `findings`; links that lead nowhere are files, which cannot be read.
pub(super) fn files(
    pattern: &str,
    findings: Findings,
) -> Result<impl Iterator<Item = Result<PathBuf>> + Send + use<>> {
    let mut skipped = SkippedFiles::default();
    let paths =
        glob::glob(&with_folders_escaped(pattern)).map_err(|error| InputsError::Pattern {
            pattern: pattern.into(),
            reason: error.to_string(),
        })?;
    let mut files = paths.filter_map(move |path| match path {
        Ok(path) if path.is_dir() => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            *skipped.folders.entry(name.into_owned()).or_default() += 1;
            findings.set_skipped(skipped.clone());
            None
        }
        Ok(path) => Some(Ok(path)),
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
        let files = |text: &str| files(text, Findings::default());
        let names: Vec<PathBuf> = files(&text("*.png")).unwrap().map(Result::unwrap).collect();
        assert_eq!(
            names,
            ["a.png", "b.png"].map(|name| folder.path().join(name))
        );
        let message = files(&text("*.gif")).err().unwrap().to_string();
        assert!(message.contains("no file matches"), "{message}");
        assert!(is_pattern(OsStr::new("?.png")) && !is_pattern(folder.path().as_os_str()));
    }

    #[test]
    fn brackets_of_what_is_there_are_no_pattern() {
        let folder = tempfile::tempdir().unwrap();
        let raw = folder.path().join("2024 [raw]");
        std::fs::create_dir(&raw).unwrap();
        for name in ["a[1].png", "b.png"] {
            std::fs::write(raw.join(name), "").unwrap();
        }
        let text = |name: &str| raw.join(name).to_str().unwrap().to_owned();
        assert!(!is_pattern(OsStr::new(&text("a[1].png"))) && !is_pattern(raw.as_os_str()));
        let found = |text: &str| -> Vec<PathBuf> {
            let files = files(text, Findings::default()).unwrap();
            files.map(Result::unwrap).collect()
        };
        assert_eq!(
            found(&text("*.png")),
            ["a[1].png", "b.png"].map(|name| raw.join(name))
        );
        assert_eq!(found(&text("[b].png")), [raw.join("b.png")]);
    }
}
