//! What is specified about a model beside its file: by a sidecar, by settings, and by a file of labels that either names.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use kiln_model::{ModelOverrides, Recipe, RecipeError};
use kiln_util::decode_text;

/// Maximum size of a sidecar or a file of labels.
const MAX_BYTES: u64 = 16 << 20;

/// A sidecar, settings, or a file of labels that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SidecarError {
    /// A file of labels cannot be read.
    #[error("cannot use the labels `{}`: {source}", path.display())]
    ReadLabels {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file of labels holds something else.
    #[error("cannot use the labels `{}`: {problem}", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// What was expected and found.
        problem: String,
    },
    /// A sidecar cannot be read.
    #[error("cannot read the sidecar {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A sidecar is something else.
    #[error("expected the sidecar {} to be {expected}", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// What was expected.
        expected: &'static str,
    },
    /// A key or value that means nothing.
    #[error(transparent)]
    Parse(#[from] RecipeError),
}

/// A TOML file that specifies what a model's own file leaves open.
#[derive(Debug, Clone, PartialEq)]
pub struct Sidecar {
    /// The file.
    pub path: PathBuf,
    /// What it specifies.
    pub overrides: ModelOverrides,
}

impl Sidecar {
    /// Returns where the sidecar of a model is looked for: in the file with its name and the ending `.toml`.
    pub fn path_of(model: &Path) -> PathBuf {
        model.with_extension("toml")
    }

    /// Reads the sidecar of a model; `None` where there is none. A recipe, or a file of another tool that has the model's
    /// name, is none.
    pub fn of(model: &Path) -> Result<Option<Self>, SidecarError> {
        let path = Self::path_of(model);
        if !path.is_file() {
            return Ok(None);
        }
        let text = read_text(&path)?;
        if Recipe::is_recipe(&text) || !ModelOverrides::is_sidecar(&text) {
            return Ok(None);
        }
        Self::parse(path, &text).map(Some)
    }

    /// Reads a file that is a sidecar, whatever its name.
    pub fn read(path: &Path) -> Result<Self, SidecarError> {
        let text = read_text(path)?;
        Self::parse(path.into(), &text)
    }

    fn parse(path: PathBuf, text: &str) -> Result<Self, SidecarError> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let overrides = ModelOverrides::parse(text, &path.display().to_string(), &[], |file| {
            read_labels(&folder.join(file)).map_err(|error| error.to_string())
        })?;
        Ok(Self { path, overrides })
    }
}

/// Reads settings `key=value` with the keys of a sidecar. `origin` is what messages call them; paths are relative to the
/// working directory.
///
/// ```
/// let settings = ["preprocess=torch".to_owned(), "size=224".to_owned()];
/// let overrides = kiln_inference::parse_settings("the request", &settings)?;
/// assert_eq!(overrides.size, Some([224, 224]));
/// # Ok::<(), kiln_inference::SidecarError>(())
/// ```
pub fn parse_settings(origin: &str, settings: &[String]) -> Result<ModelOverrides, SidecarError> {
    let read = |file: &str| read_labels(Path::new(file)).map_err(|error| error.to_string());
    Ok(ModelOverrides::parse("", origin, settings, read)?)
}

/// Reads names of classes, one a line; blanks around a name and empty lines at the end do not
/// count.
pub fn read_labels(path: &Path) -> Result<Vec<String>, SidecarError> {
    let fail = |source| SidecarError::ReadLabels {
        path: path.into(),
        source,
    };
    let wrong = |problem| SidecarError::Labels {
        path: path.into(),
        problem,
    };
    let metadata = fs::metadata(path).map_err(fail)?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return Err(wrong("expected a text file of at most 16 MiB".into()));
    }
    let bytes = fs::read(path).map_err(fail)?;
    let text = decode_text(bytes).map_err(|line| {
        wrong(format!(
            "expected UTF-8 text with one name a line, found none in line {line}"
        ))
    })?;
    parse_labels(&text).map_err(wrong)
}

fn parse_labels(text: &str) -> Result<Vec<String>, String> {
    let text = text.trim_end();
    if text.is_empty() {
        return Err("expected one name a line, found an empty file".into());
    }
    let names: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    match names.iter().position(String::is_empty) {
        Some(line) => Err(format!(
            "expected a name for every class, found line {} empty",
            line + 1
        )),
        None => Ok(names),
    }
}

fn read_text(path: &Path) -> Result<String, SidecarError> {
    let fail = |source| SidecarError::Read {
        path: path.into(),
        source,
    };
    let wrong = |expected| SidecarError::Kind {
        path: path.into(),
        expected,
    };
    let metadata = fs::metadata(path).map_err(fail)?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return Err(wrong("a text file of at most 16 MiB"));
    }
    let bytes = fs::read(path).map_err(fail)?;
    String::from_utf8(bytes).map_err(|_| wrong("TOML in UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_a_sidecar_are_read_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("m.onnx");
        assert_eq!(Sidecar::of(&model).unwrap(), None);
        let path = folder.path().join("m.toml");
        fs::write(&path, "preprocess = \"unit\"\nlabels = \"names.txt\"\n").unwrap();
        let error = Sidecar::of(&model).unwrap_err().to_string();
        assert!(error.contains("names.txt"), "{error}");
        fs::write(folder.path().join("names.txt"), "cat\ndog\n").unwrap();
        let found = Sidecar::of(&model).unwrap().unwrap();
        assert_eq!(found.path, path);
        assert_eq!(
            found.overrides.labels,
            Some(vec!["cat".into(), "dog".into()])
        );
        assert_eq!(Sidecar::read(&path).unwrap(), found);
        fs::write(&path, "[package]\nname = \"m\"\n").unwrap();
        assert_eq!(Sidecar::of(&model).unwrap(), None, "of another tool");
    }

    #[test]
    fn one_name_a_line() {
        assert_eq!(
            parse_labels("cat\r\nhot dog \n\n"),
            Ok(vec!["cat".into(), "hot dog".into()])
        );
        assert!(
            parse_labels(" \n")
                .unwrap_err()
                .contains("found an empty file")
        );
        assert_eq!(
            parse_labels("a\n\nb"),
            Err("expected a name for every class, found line 2 empty".into())
        );
    }

    #[test]
    fn labels_may_be_in_utf_16() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.txt");
        let units = "\u{feff}caf\u{e9}\r\neau\r\n".encode_utf16();
        let bytes: Vec<u8> = units.flat_map(u16::to_le_bytes).collect();
        fs::write(&path, bytes).unwrap();
        assert_eq!(read_labels(&path).unwrap(), ["caf\u{e9}", "eau"]);
        fs::write(&path, b"\xef\xbb\xbfcat\ndog\n").unwrap();
        assert_eq!(read_labels(&path).unwrap(), ["cat", "dog"]);
        fs::write(&path, b"cat\nd\xf6g\n").unwrap();
        let message = read_labels(&path).unwrap_err().to_string();
        assert!(
            message.contains("labels.txt") && message.contains("line 2"),
            "{message}"
        );
    }

    #[test]
    fn a_file_that_is_none_is_named() {
        for path in ["no/such/labels.txt", "/"] {
            let message = read_labels(Path::new(path)).unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("cannot use the labels `{path}`: ")),
                "{message}"
            );
        }
    }
}
