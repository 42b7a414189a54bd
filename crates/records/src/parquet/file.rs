//! A Parquet file of images: which of its columns hold images and labels, and its rows.

use std::ops::Range;

use serde_json::Value as Json;

use super::column::{Column, Physical, Value};
use super::footer::{Footer, Leaf};
use crate::error::{Problem, RecordsError};
use crate::record::{Content, Record};
use crate::source::Source;

/// Names of columns of images that come first where there are several.
const IMAGES: [&str; 3] = ["image", "img", "jpg"];

/// Names of columns of labels, the first that is there.
const LABELS: [&str; 9] = [
    "label",
    "labels",
    "fine_label",
    "class",
    "cls",
    "target",
    "category",
    "class_name",
    "label_name",
];

/// A Parquet file whose columns of images and labels are known.
#[derive(Debug)]
pub(crate) struct ParquetFile {
    source: Source,
    footer: Footer,
    /// The columns, by their place among those with values.
    image: usize,
    label: Option<usize>,
    /// Names of the classes, which the labels count.
    classes: Option<Vec<String>>,
}

impl ParquetFile {
    pub fn open(source: &Source) -> Result<Self, RecordsError> {
        Self::read(source.clone()).map_err(|problem| problem.of(source.path()))
    }

    fn read(source: Source) -> Result<Self, Problem> {
        let footer = Footer::read(&source)?;
        let features = Features::of(&footer.notes);
        let image = image_column(&footer.columns, &features)?;
        let label = label_column(&footer.columns, &features)?;
        let classes = label.and_then(|at| features.classes(&footer.columns[at].path[0]));
        Ok(Self {
            source,
            footer,
            image,
            label,
            classes,
        })
    }

    pub const fn source(&self) -> &Source {
        &self.source
    }

    /// Returns the names of the classes, if the file has them.
    pub fn classes(&self) -> Option<&[String]> {
        self.classes.as_deref()
    }

    pub const fn has_labels(&self) -> bool {
        self.label.is_some()
    }

    /// Returns the names of the columns.
    pub fn columns(&self) -> Vec<String> {
        names(&self.footer.columns)
    }

    /// Returns the number of rows of a row group.
    pub fn rows_of(&self, group: usize) -> Option<u64> {
        self.footer.groups.get(group).map(|group| group.rows)
    }

    /// Returns the number of rows of each row group.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = u64> {
        self.footer.groups.iter().map(|group| group.rows)
    }

    /// Returns the columns that are read, with or without images, and the bytes of each in a row group; none of a
    /// group whose index is damaged.
    pub fn ranges(&self, group: usize, with_images: bool) -> Vec<(usize, Range<u64>)> {
        let columns = with_images
            .then_some(self.image)
            .into_iter()
            .chain(self.label);
        let chunk = |at| Some((at, self.footer.chunk(group, at, self.source.length()).ok()?));
        let ranges = columns.filter_map(chunk);
        ranges
            .map(|(at, chunk)| (at, chunk.start..chunk.start + chunk.length))
            .collect()
    }

    /// Opens the rows of a row group, the first of which has this number in the file; with their images, or
    /// with labels alone. `source` is how the bytes of a column are read.
    pub fn rows(
        &self,
        group: usize,
        first: u64,
        with_images: bool,
        source: impl Fn(usize) -> Source,
    ) -> Result<Rows, Problem> {
        let column = |at: usize| {
            let chunk = self.footer.chunk(group, at, self.source.length())?;
            Ok::<_, Problem>(Column::new(&source(at), &chunk))
        };
        Ok(Rows {
            image: with_images.then(|| column(self.image)).transpose()?,
            label: self.label.map(column).transpose()?,
            row: first,
            left: self.footer.groups[group].rows,
        })
    }

    /// Returns the name of the class of a label.
    fn class(&self, label: Value<'_>, row: u64) -> Result<Option<String>, Problem> {
        let record = || format!("row {row}");
        match (label, &self.classes) {
            // Columns of floats are none of labels; -1 is none in Hugging Face's test sets.
            (Value::Null | Value::Float(_), _) | (Value::Integer(-1), Some(_)) => Ok(None),
            (Value::Bytes(text), _) => match std::str::from_utf8(text) {
                Ok(text) => Ok(Some(text.to_owned())),
                Err(_) => Err(Problem::LabelText {
                    record: record(),
                    found: "not UTF-8".into(),
                }),
            },
            (Value::Integer(label), None) => Ok(Some(label.to_string())),
            (Value::Integer(label), Some(classes)) => {
                let name = usize::try_from(label).ok().and_then(|at| classes.get(at));
                let range = || Problem::LabelRange {
                    record: record(),
                    label,
                    classes: classes.len(),
                };
                Ok(Some(name.ok_or_else(range)?.clone()))
            }
        }
    }
}

/// The rows of one row group, one after another.
pub(crate) struct Rows {
    /// None where only labels are read.
    image: Option<Column>,
    label: Option<Column>,
    /// Number of the next row in its file.
    row: u64,
    left: u64,
}

impl Rows {
    /// Returns the next row of the file that these are of; an image that only has a path is there without bytes.
    pub fn next(&mut self, file: &ParquetFile) -> Option<Result<Record, Problem>> {
        self.left = self.left.checked_sub(1)?;
        let row = self.row;
        self.row += 1;
        let record = self.read(file, row);
        if record.is_err() {
            // What follows cannot be found either.
            self.left = 0;
        }
        Some(record)
    }

    fn read(&mut self, file: &ParquetFile, row: u64) -> Result<Record, Problem> {
        let image = match &mut self.image {
            None => Content::Unread,
            Some(column) => match column.next()? {
                Value::Bytes(bytes) => Content::Bytes(bytes.into()),
                Value::Null | Value::Integer(_) | Value::Float(_) => Content::Missing,
            },
        };
        let label = match &mut self.label {
            Some(column) => {
                let label = column.next()?;
                file.class(label, row)?
            }
            None => None,
        };
        Ok(Record {
            name: row.to_string(),
            image,
            label,
        })
    }
}

/// What a file written by Hugging Face's `datasets` says about its columns: the note `huggingface`, JSON with
/// `info.features`, a key for each column.
struct Features(Json);

impl Features {
    fn of(notes: &[(String, String)]) -> Self {
        let note = notes.iter().find(|(key, _)| key == "huggingface");
        let json: Option<Json> = note.and_then(|(_, text)| serde_json::from_str(text).ok());
        let features = json.and_then(|json| json.pointer("/info/features").cloned());
        Self(features.unwrap_or_default())
    }

    fn is(&self, column: &str, kind: &str) -> bool {
        let found = self.0.get(column).and_then(|feature| feature.get("_type"));
        found.and_then(Json::as_str) == Some(kind)
    }

    fn classes(&self, column: &str) -> Option<Vec<String>> {
        let names = self.0.get(column)?.get("names")?.as_array()?;
        let names = names.iter().map(|name| name.as_str().map(str::to_owned));
        names
            .collect::<Option<Vec<String>>>()
            .filter(|names| !names.is_empty())
    }
}

fn names(columns: &[Leaf]) -> Vec<String> {
    columns.iter().map(|column| column.path.join(".")).collect()
}

/// The column of images: one that `datasets` calls an image, a struct with `bytes`, or binary data that is no text.
fn image_column(columns: &[Leaf], features: &Features) -> Result<usize, Problem> {
    let is_bytes = |leaf: &Leaf| leaf.physical == Physical::Bytes && !leaf.is_repeated;
    let is_struct = |leaf: &Leaf| leaf.path.len() == 2 && leaf.path[1] == "bytes" && is_bytes(leaf);
    let is_binary = |leaf: &Leaf| leaf.path.len() == 1 && is_bytes(leaf) && !leaf.is_text;
    let candidates = |wanted: &dyn Fn(&Leaf) -> bool| -> Vec<usize> {
        let all = columns.iter().enumerate();
        all.filter(|(_, leaf)| wanted(leaf))
            .map(|(at, _)| at)
            .collect()
    };
    let ways: [&dyn Fn(&Leaf) -> bool; 3] = [
        &|leaf| features.is(&leaf.path[0], "Image") && (is_struct(leaf) || is_binary(leaf)),
        &is_struct,
        &is_binary,
    ];
    for way in ways {
        let found = candidates(way);
        let by_name = |name: &str| found.iter().find(|&&at| columns[at].path[0] == name);
        match (
            IMAGES.iter().find_map(|name| by_name(name)),
            found.as_slice(),
        ) {
            (Some(&at), _) | (None, &[at]) => return Ok(at),
            (None, []) => (),
            (None, _) => {
                return Err(Problem::ImageColumn {
                    expected: "one column",
                    columns: names(columns),
                });
            }
        }
    }
    if let Some(leaf) = columns
        .iter()
        .find(|leaf| leaf.is_repeated && IMAGES.contains(&leaf.path[0].as_str()))
    {
        return Err(Problem::Column {
            column: leaf.path[0].clone(),
            found: "several images for a row".into(),
            expected: "one",
        });
    }
    Err(Problem::ImageColumn {
        expected: "a column",
        columns: names(columns),
    })
}

/// The column of labels, if there is one: by its name, or the only one that `datasets` calls a class label.
fn label_column(columns: &[Leaf], features: &Features) -> Result<Option<usize>, Problem> {
    let named = |name: &&str| columns.iter().position(|leaf| leaf.path[0] == **name);
    let at = if let Some(at) = LABELS.iter().find_map(named) {
        at
    } else {
        let labels = columns.iter().enumerate();
        let mut labels = labels.filter(|(_, leaf)| features.is(&leaf.path[0], "ClassLabel"));
        match (labels.next(), labels.next()) {
            (Some((at, _)), None) => at,
            _ => return Ok(None),
        }
    };
    let leaf = &columns[at];
    let found = if leaf.is_repeated {
        "several values for a row"
    } else if leaf.path.len() > 1 {
        "a struct"
    } else if matches!(leaf.physical, Physical::Other | Physical::Float) {
        "values of another type"
    } else {
        return Ok(Some(at));
    };
    Err(Problem::Column {
        column: leaf.path[0].clone(),
        found: found.into(),
        expected: "whole numbers or text",
    })
}
