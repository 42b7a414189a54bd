//! A list of images with labels.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{FilesError, Listing};
use crate::hex::Hex;

/// Reads a list: a CSV file in UTF-8 whose first line names the columns, among them `path`, relative to the list, and
/// `label`, the name of the class. Other columns are passed over. Classes are sorted by name, files as they are listed.
pub fn list(path: &Path) -> Result<Listing, FilesError> {
    let line = |line: u64, problem: String| FilesError::Line { path: path.into(), line, problem };
    let bytes = read(path)?;
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(&bytes[..]);
    let fail = |error: &csv::Error| {
        let at = error.position().map_or(1, csv::Position::line);
        line(at, format!("{error}: expected CSV in UTF-8 with a line `path,label` at the top"))
    };
    let header = reader.headers().map_err(|error| fail(&error))?.clone();
    let column = |name: &str| {
        header.iter().position(|column| column == name).ok_or_else(|| {
            let found: Vec<&str> = header.iter().collect();
            line(1, format!("expected the columns `path` and `label`, found `{}`: add the line", found.join(",")))
        })
    };
    let (path_column, label_column) = (column("path")?, column("label")?);
    let (mut files, mut names) = (Vec::new(), Vec::new());
    let mut lines = HashMap::new();
    for record in reader.records() {
        let record = record.map_err(|error| fail(&error))?;
        let at = record.position().map_or(0, csv::Position::line);
        let (file, name) = (&record[path_column], &record[label_column]);
        if file.is_empty() || name.is_empty() {
            return Err(line(at, "expected a path and a label, found one of them empty: fill it in".into()));
        }
        if let Some(before) = lines.insert(file.to_string(), at) {
            return Err(line(at, format!("`{file}` is in line {before} already: remove one of them")));
        }
        files.push(PathBuf::from(file));
        names.push(name.to_string());
    }
    if files.is_empty() {
        return Err(line(1, "the list is empty: expected a line for each image".into()));
    }
    let classes: Vec<String> = names.iter().collect::<BTreeSet<_>>().into_iter().cloned().collect();
    let labels = names.iter().map(|name| classes.partition_point(|class| class < name) as u32).collect();
    let root = path.parent().unwrap_or(Path::new("")).to_path_buf();
    Ok(Listing { name: path.display().to_string(), root, files, labels, classes })
}

/// The SHA-256 of a list itself, and so of the labels in it.
pub fn list_checksum(path: &Path) -> Result<String, FilesError> {
    Ok(Hex(&Sha256::digest(read(path)?)).to_string())
}

fn read(path: &Path) -> Result<Vec<u8>, FilesError> {
    std::fs::read(path).map_err(|reason| FilesError::Read { path: path.into(), reason })
}
