//! A list of images with labels.

use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use kiln_preprocess::is_image_name;

use super::Listing;
use super::names::{composed, decomposed};
use crate::LabelSets;
use crate::error::FilesError;
use kiln_util::{Hex, TextReader, sha256};

/// Lines of a list that is gone through once which are compared with those that follow: a million,
/// for which 64 MB suffice.
const COMPARED: usize = 1 << 20;

/// Folders whose place is remembered.
const FOLDERS: usize = 1 << 16;

/// The lines of a list, one after another: a CSV file in UTF-8, or in UTF-16 with a byte-order mark,
/// whose first line names the columns, among them `path`, and `label`, the name of the class, if it
/// has labels. Images that can have several classes have their names in `labels`, with `|`, `;` or `,` between
/// them, or [a column for each](Self::with_class_columns). Other columns are skipped. However long the list, memory
/// is flat.
pub struct ListReader<R> {
    /// Name of the list in messages.
    name: PathBuf,
    reader: csv::Reader<TextReader<R>>,
    path_column: usize,
    labels: LabelColumns,
    record: csv::StringRecord,
}

/// Where a list has its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
enum LabelColumns {
    None,
    /// The column `label`: one class.
    One(usize),
    /// The column `labels`: any number of classes.
    Several(usize),
    /// A column for each class, with its name.
    Marks(Vec<(usize, String)>),
}

/// What stands between the names of an image's classes.
const SEPARATORS: [char; 3] = ['|', ';', ','];

/// A line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Path as the list has it.
    pub path: PathBuf,
    /// Name of the class; none where the list has no labels, or several for an image.
    pub label: Option<String>,
    /// Names of the classes, where an image can have several.
    pub labels: Option<Vec<String>>,
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
            .from_reader(TextReader::new(content));
        let header = reader
            .headers()
            .map_err(|error| fail(name, &error))?
            .clone();
        let column = |name: &str| header.iter().position(|column| column == name);
        let Some(path_column) = column("path") else {
            return Err(line(name, 1, no_columns(&header)));
        };
        let labels = match (column("label"), column("labels")) {
            (Some(label), _) => LabelColumns::One(label),
            (None, Some(labels)) => LabelColumns::Several(labels),
            (None, None) => LabelColumns::None,
        };
        Ok(Self {
            name: name.into(),
            reader,
            path_column,
            labels,
            record: csv::StringRecord::new(),
        })
    }

    /// Takes the columns of a list without `label` and `labels` that have the names of these classes for marks of
    /// them, 1 or 0, if there is one for each of at least two classes.
    pub fn with_class_columns(mut self, classes: &[String]) -> Result<Self, FilesError> {
        if self.labels != LabelColumns::None {
            return Ok(self);
        }
        let fail = |error: csv::Error| fail(&self.name, &error);
        let header = self.reader.headers().map_err(fail)?.clone();
        let columns = header.iter().enumerate();
        let others = columns.filter(|(at, _)| *at != self.path_column);
        let named: Vec<(usize, String)> = others
            .filter(|(_, name)| classes.iter().any(|class| class == name))
            .map(|(at, name)| (at, name.to_owned()))
            .collect();
        if named.len() > 1 && named.len() == classes.len() {
            self.labels = LabelColumns::Marks(named);
        }
        Ok(self)
    }

    /// Takes all columns but `path` of a list without `label` and `labels`, if there are at least two, for marks of
    /// classes, 1 or 0.
    fn with_columns_as_classes(self) -> Result<Self, FilesError> {
        let mut reader = self;
        let header = reader.reader.headers();
        let header = header.map_err(|error| fail(&reader.name, &error))?.clone();
        let columns = header.iter().enumerate();
        let others = columns.filter(|(at, _)| *at != reader.path_column);
        let classes: Vec<String> = others.map(|(_, name)| name.to_owned()).collect();
        reader.with_class_columns(&classes)
    }

    /// Returns whether the list has labels.
    pub fn has_labels(&self) -> bool {
        self.labels != LabelColumns::None
    }

    /// Returns whether an image of the list can have several classes.
    pub const fn has_several(&self) -> bool {
        matches!(
            self.labels,
            LabelColumns::Several(_) | LabelColumns::Marks(_)
        )
    }

    /// The classes that have a column each, whether or not an image has them.
    fn class_columns(&self) -> Vec<String> {
        match &self.labels {
            LabelColumns::Marks(columns) => columns.iter().map(|(_, name)| name.clone()).collect(),
            LabelColumns::None | LabelColumns::One(_) | LabelColumns::Several(_) => Vec::new(),
        }
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
        let path = &self.record[self.path_column];
        let (label, labels) = match &self.labels {
            LabelColumns::None => (None, None),
            LabelColumns::One(column) => (Some(&self.record[*column]), None),
            LabelColumns::Several(column) => (None, Some(separated(&self.record[*column]))),
            LabelColumns::Marks(columns) => (None, Some(self.marked(columns, at)?)),
        };
        if path.is_empty() || label.is_some_and(str::is_empty) {
            let problem =
                "expected a path and a label, found one of them empty: fill it in".to_owned();
            return Err(line(&self.name, at, problem));
        }
        Ok(Some(Listed {
            path: path.into(),
            label: label.map(str::to_owned),
            labels,
            line: at,
        }))
    }

    /// The classes whose columns have a 1.
    fn marked(&self, columns: &[(usize, String)], at: u64) -> Result<Vec<String>, FilesError> {
        let mut marked = Vec::new();
        for (column, class) in columns {
            match self.record[*column].to_ascii_lowercase().as_str() {
                "1" | "1.0" | "true" => marked.push(class.clone()),
                "0" | "0.0" | "false" | "" => {}
                _ => {
                    let found = &self.record[*column];
                    let problem = format!(
                        "expected 1 or 0 in the column of the class `{class}`, found `{found}`: take out columns that are \
                         no classes, or give the names of the classes in one column `labels`, with `|` between them"
                    );
                    return Err(line(&self.name, at, problem));
                }
            }
        }
        Ok(marked)
    }
}

/// The names in a field, each once, in their order.
fn separated(field: &str) -> Vec<String> {
    let mut names = Vec::new();
    for name in field.split(SEPARATORS).map(str::trim) {
        if !name.is_empty() && !names.iter().any(|other| other == name) {
            names.push(name.to_owned());
        }
    }
    names
}

impl<R: Read> Iterator for ListReader<R> {
    type Item = Result<Listed, FilesError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// A line of a list whose file is in a line before, under the same or another spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeated {
    /// The line, from 1.
    pub line: u64,
    /// The line that has the file first.
    pub first: u64,
}

/// Finds the files that the lines of a list mean, and those that an earlier line has already: by
/// another spelling of the path, as `a.png` and `./a.png`, or by a link.
///
/// Of a list that is gone through once, the first million lines are compared with those that follow.
#[derive(Debug)]
pub struct ListedFiles {
    /// Name of the list in messages.
    list: PathBuf,
    /// Folder that paths are relative to.
    root: PathBuf,
    /// Where folders are, whichever way they are written.
    folders: HashMap<PathBuf, PathBuf>,
    /// Line and label, as a hash, of each file, by the hash of where it is.
    seen: HashMap<u128, (u64, u64)>,
    most: usize,
}

impl ListedFiles {
    /// Starts with no line of a list whose paths are relative to `root`.
    pub fn new(list: &Path, root: &Path) -> Self {
        Self {
            list: list.into(),
            root: root.into(),
            folders: HashMap::new(),
            seen: HashMap::new(),
            most: COMPARED,
        }
    }

    /// Finds the file of a path: as it is written, or where there is none, with slashes in place of the
    /// backslashes of Windows, or in another Unicode normal form. What is not there stays as it is.
    pub fn find(&self, path: PathBuf) -> PathBuf {
        let there = |path: &Path| self.root.join(path).symlink_metadata().is_ok();
        let Some(text) = path.to_str() else {
            return path;
        };
        let foreign = cfg!(not(windows)) && text.contains('\\');
        if (text.is_ascii() && !foreign) || there(&path) {
            return path;
        }
        let slashes = if foreign {
            text.replace('\\', "/")
        } else {
            text.to_owned()
        };
        let forms = [composed(&slashes), decomposed(&slashes), slashes];
        let mut forms = forms.into_iter().map(PathBuf::from);
        forms.find(|form| there(form)).unwrap_or(path)
    }

    /// Takes note of a line, and gives it the path of the file that it means. Returns the earlier
    /// line that has the same file.
    ///
    /// # Errors
    ///
    /// [`FilesError::Line`] if the earlier line has another label.
    pub fn add(&mut self, listed: &mut Listed) -> Result<Option<Repeated>, FilesError> {
        listed.path = self.find(std::mem::take(&mut listed.path));
        let key = hash128(&self.place(&listed.path));
        let label = hash(0, &(listed.label.as_deref().map(composed), &listed.labels));
        let room = self.seen.len() < self.most;
        match self.seen.entry(key) {
            Entry::Occupied(entry) => {
                let (first, its_label) = *entry.get();
                if its_label == label {
                    let line = listed.line;
                    return Ok(Some(Repeated { line, first }));
                }
                let problem = format!(
                    "`{}` is the image of line {first}, which has another label: remove one of them",
                    listed.path.display()
                );
                Err(line(&self.list, listed.line, problem))
            }
            Entry::Vacant(entry) => {
                if room {
                    entry.insert((listed.line, label));
                }
                Ok(None)
            }
        }
    }

    /// Where a file is, whichever way its path is written. What is not there cannot be a link.
    fn place(&mut self, path: &Path) -> PathBuf {
        let full = self.root.join(path);
        let (Some(folder), Some(name), false) =
            (full.parent(), full.file_name(), full.is_symlink())
        else {
            return full.canonicalize().unwrap_or(full);
        };
        if let Some(folder) = self.folders.get(folder) {
            return folder.join(name);
        }
        let here = Path::new(".");
        let written = if folder.as_os_str().is_empty() {
            here
        } else {
            folder
        };
        let canonical = written.canonicalize().unwrap_or_else(|_| folder.into());
        let place = canonical.join(name);
        if self.folders.len() < FOLDERS {
            self.folders.insert(folder.into(), canonical);
        }
        place
    }
}

fn hash(salt: u8, value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    salt.hash(&mut hasher);
    value.hash(&mut hasher);
    hasher.finish()
}

fn hash128(value: &impl Hash) -> u128 {
    u128::from(hash(1, value)) << 64 | u128::from(hash(2, value))
}

/// Reads a list with labels whole; paths are relative to it. Classes are sorted by name, files as
/// they are listed. A file that several lines have is listed once ([`Listing::repeated`]); labels
/// that differ only in their Unicode normal form are one class. Of a list without `label` and `labels`, the columns
/// beside `path` are the classes, each with 1 or 0 for every image.
///
/// # Errors
///
/// [`FilesError::Line`] for what is wrong with a line, or with the first for the whole list.
pub fn list(path: &Path) -> Result<Listing, FilesError> {
    let entries = ListReader::open(path)?.with_columns_as_classes()?;
    let (several, columns) = (entries.has_several(), entries.class_columns());
    if !entries.has_labels() {
        let problem = "expected the columns `path` and `label`, found no `label`: rename the column of the classes, or add one";
        return Err(line(path, 1, problem.to_owned()));
    }
    let root = path.parent().unwrap_or(Path::new(""));
    let mut listing = Listing::new(path.display().to_string(), root);
    let mut listed_files = ListedFiles {
        most: usize::MAX,
        ..ListedFiles::new(path, root)
    };
    // The labels of each file in composed form, and how each was written first.
    let mut names: Vec<Vec<String>> = Vec::new();
    let mut classes: BTreeMap<String, String> = columns
        .into_iter()
        .map(|name| (composed(&name), name))
        .collect();
    for entry in entries {
        let mut entry = entry?;
        if let Some(repeated) = listed_files.add(&mut entry)? {
            listing.repeated.push(repeated);
            continue;
        }
        let labels = entry
            .label
            .into_iter()
            .chain(entry.labels.unwrap_or_default());
        let labels = labels.map(|label| {
            let name = composed(&label);
            classes.entry(name.clone()).or_insert(label);
            name
        });
        names.push(labels.collect());
        listing.files.push(entry.path);
        listing.lines.push(entry.line);
    }
    if listing.files.is_empty() {
        let problem = "the list is empty: expected a line for each image";
        return Err(line(path, 1, problem.into()));
    }
    let mut classes: Vec<(String, String)> = classes.into_iter().collect();
    classes.sort_by(|(_, one), (_, other)| one.cmp(other));
    let numbers: HashMap<&str, u32> = classes
        .iter()
        .zip(0..)
        .map(|((name, _), number)| (name.as_str(), number))
        .collect();
    let sets = names
        .iter()
        .map(|names| names.iter().map(|name| numbers[name.as_str()]).collect());
    if several {
        let (sets, labels) = LabelSets::several(sets);
        (listing.sets, listing.labels) = (Some(sets), labels);
    } else {
        listing.labels = sets.flat_map(|classes: Vec<u32>| classes).collect();
    }
    listing.classes = classes.into_iter().map(|(_, label)| label).collect();
    Ok(listing)
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
