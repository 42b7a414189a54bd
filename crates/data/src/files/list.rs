//! A list of images with labels.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use kiln_preprocess::is_image_name;

use super::Listing;
use crate::error::FilesError;
use kiln_util::{Hex, sha256};

/// The lines of a list, one after another: a CSV file in UTF-8 whose first line names the columns,
/// among them `path`, and `label`, the name of the class, if it has labels. Other columns are
/// skipped. However long the list, memory is flat.
pub struct ListReader<R> {
    /// Name of the list in messages.
    name: PathBuf,
    reader: csv::Reader<R>,
    path_column: usize,
    label_column: Option<usize>,
    record: csv::StringRecord,
}

/// A line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Path as the list has it.
    pub path: PathBuf,
    /// Name of the class; none where the list has no labels.
    pub label: Option<String>,
    /// The line, from 1.
    pub line: u64,
}

impl ListReader<BufReader<File>> {
    /// Opens the list in a file.
    pub fn open(path: &Path) -> Result<Self, FilesError> {
        let file = File::open(path).map_err(|reason| FilesError::Read {
            path: path.into(),
            reason,
        })?;
        Self::new(path, BufReader::new(file))
    }
}

impl<R: Read> ListReader<R> {
    /// Creates a reader of any source; messages call it by this name.
    pub fn new(name: &Path, content: R) -> Result<Self, FilesError> {
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(content);
        let header = reader
            .headers()
            .map_err(|error| fail(name, &error))?
            .clone();
        let column = |name: &str| header.iter().position(|column| column == name);
        let Some(path_column) = column("path") else {
            return Err(line(name, 1, no_columns(&header)));
        };
        let label_column = column("label");
        Ok(Self {
            name: name.into(),
            reader,
            path_column,
            label_column,
            record: csv::StringRecord::new(),
        })
    }

    /// Returns whether the list has labels.
    pub fn has_labels(&self) -> bool {
        self.label_column.is_some()
    }

    fn read(&mut self) -> Result<Option<Listed>, FilesError> {
        if !self
            .reader
            .read_record(&mut self.record)
            .map_err(|error| fail(&self.name, &error))?
        {
            return Ok(None);
        }
        let at = self.record.position().map_or(0, csv::Position::line);
        let (path, label) = (
            &self.record[self.path_column],
            self.label_column.map(|column| &self.record[column]),
        );
        if path.is_empty() || label.is_some_and(str::is_empty) {
            let problem =
                "expected a path and a label, found one of them empty: fill it in".to_owned();
            return Err(line(&self.name, at, problem));
        }
        Ok(Some(Listed {
            path: path.into(),
            label: label.map(str::to_owned),
            line: at,
        }))
    }
}

impl<R: Read> Iterator for ListReader<R> {
    type Item = Result<Listed, FilesError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// Reads a list with labels whole; paths are relative to it. Classes are sorted by name, files as
/// they are listed.
pub fn list(path: &Path) -> Result<Listing, FilesError> {
    let entries = ListReader::open(path)?;
    if !entries.has_labels() {
        let problem = "expected the columns `path` and `label`, found no `label`: rename the column of the classes, or add one";
        return Err(line(path, 1, problem.to_owned()));
    }
    let (mut files, mut names) = (Vec::new(), Vec::new());
    let mut lines = HashMap::new();
    for entry in entries {
        let Listed {
            path: file,
            label,
            line: at,
        } = entry?;
        if let Some(before) = lines.insert(file.clone(), at) {
            let problem = format!(
                "`{}` is in line {before} already: remove one of them",
                file.display()
            );
            return Err(line(path, at, problem));
        }
        files.push(file);
        names.push(label.unwrap_or_default());
    }
    if files.is_empty() {
        return Err(line(
            path,
            1,
            "the list is empty: expected a line for each image".into(),
        ));
    }
    let classes: Vec<String> = names
        .iter()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .cloned()
        .collect();
    let labels = names
        .iter()
        .map(|name| classes.partition_point(|class| class < name) as u32)
        .collect();
    let root = path.parent().unwrap_or(Path::new("")).to_path_buf();
    Ok(Listing {
        name: path.display().to_string(),
        root,
        files,
        labels,
        classes,
        skipped_files: BTreeMap::new(),
    })
}

/// Computes the SHA-256 of a list itself, and so of the labels in it.
pub fn list_checksum(path: &Path) -> Result<String, FilesError> {
    let hash = File::open(path).and_then(sha256);
    let hash = hash.map_err(|reason| FilesError::Read {
        path: path.into(),
        reason,
    })?;
    Ok(Hex(&hash).to_string())
}

/// Describes a first line that has no column `path`, and what to do: it may be that of an image
/// already.
fn no_columns(header: &csv::StringRecord) -> String {
    let found = header.iter().collect::<Vec<_>>().join(",");
    let advice = if header.iter().any(|field| is_image_name(Path::new(field))) || found.is_empty() {
        "add the line `path,label` at the top"
    } else if header.len() == 1 && found.contains([';', '\t']) {
        "separate the columns by commas"
    } else {
        "rename the columns"
    };
    format!("expected the columns `path` and `label`, found `{found}`: {advice}")
}

fn line(path: &Path, line: u64, problem: String) -> FilesError {
    FilesError::Line {
        path: path.into(),
        line,
        problem,
    }
}

fn fail(path: &Path, error: &csv::Error) -> FilesError {
    let at = error.position().map_or(1, csv::Position::line);
    line(
        path,
        at,
        format!("{error}: expected CSV in UTF-8 with a line `path,label` at the top"),
    )
}
