//! Where images come from.

use std::fmt;
use std::path::{Path, PathBuf};

/// What images come from: a dataset, a folder, a list, a file, or several of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// As they were named, in order.
    names: Vec<String>,
    /// What the images are taken from, however it was named; equal neighbors once.
    places: Vec<String>,
}

impl Source {
    /// Creates a source that has the same name wherever it is used: a dataset, or standard input.
    pub fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            places: vec![name.clone()],
            names: vec![name],
        }
    }

    /// Creates the source of a folder, a list or a file of many images, by its path.
    pub fn at(path: &Path) -> Self {
        Self {
            names: vec![path.display().to_string()],
            places: vec![place(path)],
        }
    }

    /// Creates the source of a single image, or of a pattern. Its place is the folder: paths are
    /// compared one by one.
    pub fn file(path: &Path) -> Self {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        Self {
            names: vec![path.display().to_string()],
            places: vec![place(folder)],
        }
    }

    /// Joins several, one after another.
    pub fn several(parts: impl IntoIterator<Item = Self>) -> Self {
        let (mut names, mut places) = (Vec::new(), Vec::new());
        for part in parts {
            names.extend(part.names);
            places.extend(part.places);
        }
        places.dedup();
        Self { names, places }
    }

    /// Returns what the source is called, or the first of several.
    pub(crate) fn name(&self) -> String {
        self.names.first().cloned().unwrap_or_default()
    }

    /// Returns the datasets, and the absolute paths of folders and lists, that the images are taken
    /// from; the same whichever way a path was written.
    pub fn places(&self) -> &[String] {
        &self.places
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quoted(&self.names))
    }
}

/// Joins names for a message, however many there are.
pub fn quoted(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [only] => format!("`{only}`"),
        [first, second] => format!("`{first}` and `{second}`"),
        [first, .., last] => format!("`{first}`, …, `{last}` ({} in all)", names.len()),
    }
}

/// Returns a path whichever way it was written; what is not there cannot be a link.
fn place(path: &Path) -> String {
    let absolute = |_| std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
    path.canonicalize()
        .unwrap_or_else(absolute)
        .display()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_few() {
        let source = |names: &[&str]| {
            Source::several(names.iter().map(|name| Source::named(*name))).to_string()
        };
        assert_eq!(source(&["a"]), "`a`");
        assert_eq!(source(&["a", "b"]), "`a` and `b`");
        assert_eq!(source(&["a", "b", "c", "d"]), "`a`, …, `d` (4 in all)");
    }

    #[test]
    fn a_place_is_the_same_however_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        std::fs::create_dir_all(&one).unwrap();
        std::fs::create_dir_all(&other).unwrap();
        let around = other.join("../one");
        assert_eq!(Source::at(&one).places(), Source::at(&around).places());
        assert_ne!(Source::at(&one).places(), Source::at(&other).places());
        // Files in one folder, there or not, have one place.
        let files = ["a.png", "b.png"].map(|name| Source::file(&around.join(name)));
        assert_eq!(Source::several(files).places(), Source::at(&one).places());
    }
}
