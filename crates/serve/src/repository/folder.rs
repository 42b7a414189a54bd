//! What models the paths on the command line stand for, with names and versions.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A model file, or a folder of models, as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The name for requests, if one was given.
    pub name: Option<String>,
    /// A file, a run directory, or a folder of models.
    pub path: PathBuf,
}

/// A version of a model that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// When it was changed, and its size: another file under the same name has others.
    pub stamp: Option<(SystemTime, u64)>,
}

/// What was found, by name and version.
pub type Catalog = BTreeMap<String, BTreeMap<u64, Found>>;

/// Why models cannot be found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are in the messages")]
pub enum FolderError {
    /// A path that is not there or cannot be read.
    #[error("cannot read `{}`: {reason}", path.display())]
    Read {
        path: PathBuf,
        reason: std::io::Error,
    },
    /// A folder without models.
    #[error(
        "`{}` holds no model: expected NAME.onnx, NAME/model.onnx or NAME/VERSION/model.onnx in it",
        path.display()
    )]
    Empty { path: PathBuf },
    /// A name for a folder of several models.
    #[error("`{}` holds several models, which the one name `{name}` was given for", path.display())]
    OneName { path: PathBuf, name: String },
    /// Two files of one name and version.
    #[error("two models are called `{name}` version {version}: `{}` and `{}`", first.display(), second.display())]
    Twice {
        name: String,
        version: u64,
        first: PathBuf,
        second: PathBuf,
    },
    /// A file whose name is not UTF-8.
    #[error("the name of `{}` is not UTF-8: give it one as NAME=PATH", path.display())]
    Name { path: PathBuf },
}

impl Location {
    /// Reads `PATH` or `NAME=PATH`. A path with an equals sign is written with a folder before it, such as
    /// `./a=b.onnx`.
    pub fn parse(text: &str) -> Self {
        match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !name.contains(['/', '\\']) => Self {
                name: Some(name.to_owned()),
                path: path.into(),
            },
            _ => Self {
                name: None,
                path: text.into(),
            },
        }
    }

    /// Finds the models of this location.
    fn find(&self) -> Result<Catalog, FolderError> {
        let path = &self.path;
        let metadata = fs::metadata(path).map_err(|reason| FolderError::Read {
            path: path.clone(),
            reason,
        })?;
        if !metadata.is_dir() {
            return self.single(path);
        }
        // A run directory, or a model's folder.
        if let Some(file) = model_in(path) {
            return self.single(&file);
        }
        let versions = versions_in(path)?;
        if !versions.is_empty() {
            return Ok(Catalog::from([(self.name_of(path)?, versions)]));
        }
        let mut catalog = Catalog::new();
        for entry in entries(path)? {
            let versions = if entry.is_dir() {
                match model_in(&entry) {
                    Some(file) => BTreeMap::from([(1, found(file))]),
                    None => versions_in(&entry)?,
                }
            } else if is_model(&entry) {
                BTreeMap::from([(1, found(entry.clone()))])
            } else {
                BTreeMap::new()
            };
            if !versions.is_empty() {
                add(&mut catalog, name(&entry)?, versions)?;
            }
        }
        match (&self.name, catalog.len()) {
            (_, 0) => Err(FolderError::Empty { path: path.clone() }),
            (Some(name), 1) => Ok(catalog
                .into_values()
                .map(|versions| (name.clone(), versions))
                .collect()),
            (Some(name), _) => Err(FolderError::OneName {
                path: path.clone(),
                name: name.clone(),
            }),
            (None, _) => Ok(catalog),
        }
    }

    fn single(&self, file: &Path) -> Result<Catalog, FolderError> {
        let name = self.name_of(file)?;
        let versions = BTreeMap::from([(1, found(file.into()))]);
        Ok(Catalog::from([(name, versions)]))
    }

    fn name_of(&self, path: &Path) -> Result<String, FolderError> {
        match &self.name {
            Some(name) => Ok(name.clone()),
            None => name(path),
        }
    }
}

/// Finds the models of all locations.
///
/// # Errors
///
/// Returns what cannot be read, a folder without models, or a name that two models have.
pub fn find(locations: &[Location]) -> Result<Catalog, FolderError> {
    let mut catalog = Catalog::new();
    for location in locations {
        for (name, versions) in location.find()? {
            add(&mut catalog, name, versions)?;
        }
    }
    Ok(catalog)
}

fn add(
    catalog: &mut Catalog,
    name: String,
    versions: BTreeMap<u64, Found>,
) -> Result<(), FolderError> {
    let known = catalog.entry(name.clone()).or_default();
    for (version, found) in versions {
        if let Some(first) = known.insert(version, found.clone()) {
            return Err(FolderError::Twice {
                name,
                version,
                first: first.path,
                second: found.path,
            });
        }
    }
    Ok(())
}

/// The versions of a model: folders whose names are numbers from 1, with a model in each.
fn versions_in(folder: &Path) -> Result<BTreeMap<u64, Found>, FolderError> {
    let mut versions = BTreeMap::new();
    for entry in entries(folder)? {
        let number = entry.file_name().and_then(|name| name.to_str());
        let number = number
            .and_then(|name| name.parse::<u64>().ok())
            .filter(|&n| n > 0);
        if let (Some(version), Some(file)) = (number, model_in(&entry)) {
            versions.insert(version, found(file));
        }
    }
    Ok(versions)
}

/// The model of a folder that is one model's.
fn model_in(folder: &Path) -> Option<PathBuf> {
    Some(folder.join("model.onnx")).filter(|file| file.is_file())
}

fn is_model(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "onnx") && path.is_file()
}

fn found(path: PathBuf) -> Found {
    let metadata = fs::metadata(&path).ok();
    let stamp = metadata.and_then(|it| Some((it.modified().ok()?, it.len())));
    Found { path, stamp }
}

/// What is in a folder, by name, without hidden files.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, FolderError> {
    let fail = |reason| FolderError::Read {
        path: folder.into(),
        reason,
    };
    let entries = fs::read_dir(folder).map_err(fail)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<Result<Vec<_>, _>>().map_err(fail)?;
    paths.retain(|path| {
        let name = path.file_name().unwrap_or_default();
        !name.as_encoded_bytes().starts_with(b".")
    });
    paths.sort();
    Ok(paths)
}

/// The name of a model by its path: that of the file, or of the folder where the file's says nothing.
fn name(path: &Path) -> Result<String, FolderError> {
    let fail = || FolderError::Name { path: path.into() };
    let own = if path.is_dir() {
        path.file_name()
    } else {
        path.file_stem()
    };
    if own.is_some_and(|own| own != "model") && !path.is_dir() {
        return own
            .and_then(|own| own.to_str())
            .map(str::to_owned)
            .ok_or_else(fail);
    }
    // Of `.` and of `model.onnx` the absolute path has it.
    let absolute = fs::canonicalize(path).map_err(|reason| FolderError::Read {
        path: path.into(),
        reason,
    })?;
    let folder = if path.is_dir() {
        Some(absolute.as_path())
    } else {
        absolute.parent()
    };
    let name = folder
        .and_then(Path::file_name)
        .map_or(Some("model"), |name| name.to_str());
    name.map(str::to_owned).ok_or_else(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    fn names(locations: &[Location]) -> Vec<(String, Vec<u64>)> {
        let catalog = find(locations).unwrap();
        catalog
            .into_iter()
            .map(|(name, versions)| (name, versions.into_keys().collect()))
            .collect()
    }

    #[test]
    fn a_file_has_the_name_of_its_stem_or_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("digits");
        for file in ["cnn.onnx", "model.onnx"] {
            touch(&root.join(file));
        }
        let of = |text: &Path| Location::parse(text.to_str().unwrap());
        assert_eq!(
            names(&[of(&root.join("cnn.onnx"))]),
            [("cnn".into(), vec![1])]
        );
        let digits = [("digits".to_owned(), vec![1])];
        assert_eq!(names(&[of(&root.join("model.onnx"))]), digits);
        assert_eq!(names(&[of(&root)]), digits, "a run directory");
        let given = Location::parse(&format!("mine={}", root.display()));
        assert_eq!(names(&[given]), [("mine".into(), vec![1])]);
    }

    #[test]
    fn a_folder_has_models_and_versions() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for file in [
            "a.onnx",
            "b/model.onnx",
            "c/1/model.onnx",
            "c/12/model.onnx",
            "c/0/model.onnx",
            "c/latest/model.onnx",
            "d/notes.txt",
            ".hidden/model.onnx",
            "README.md",
        ] {
            touch(&root.join(file));
        }
        let location = |name: Option<&str>, path: PathBuf| Location {
            name: name.map(str::to_owned),
            path,
        };
        let expected = [
            ("a".to_owned(), vec![1]),
            ("b".to_owned(), vec![1]),
            ("c".to_owned(), vec![1, 12]),
        ];
        assert_eq!(names(&[location(None, root.into())]), expected);
        let versions = location(None, root.join("c"));
        assert_eq!(names(&[versions]), [("c".into(), vec![1, 12])]);
        let error = |locations: &[Location]| find(locations).unwrap_err().to_string();
        assert!(error(&[location(None, root.join("d"))]).contains("holds no model"));
        assert!(error(&[location(Some("x"), root.into())]).contains("several models"));
        let twice = [
            location(None, root.join("a.onnx")),
            location(None, root.into()),
        ];
        assert!(error(&twice).contains("`a` version 1"));
        assert!(error(&[location(None, root.join("e"))]).starts_with("cannot read"));
    }
}
