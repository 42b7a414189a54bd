//! Reading rows of predictions again, one after another.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};

use kiln_records::{Cell, ParquetTable};

use super::row::{Columns, Row};
use super::writer::Format;
use crate::error::predictions::PredictionsError;

/// The rows of a file, which ends after an error.
pub(super) struct Reader {
    path: PathBuf,
    columns: Columns,
    rows: Rows,
    is_done: bool,
}

enum Rows {
    Csv(Box<csv::Reader<BufReader<File>>>, csv::StringRecord),
    JsonLines(Lines<BufReader<File>>, u64),
    Parquet(Box<ParquetTable>, u64),
}

impl Reader {
    /// Reads an open file from where it is; a Parquet file from its beginning.
    ///
    /// # Errors
    ///
    /// [`PredictionsError::Header`] if it has other columns.
    pub fn new(
        path: &Path,
        file: File,
        format: Format,
        columns: &Columns,
    ) -> Result<Self, PredictionsError> {
        let header = || PredictionsError::Header { path: path.into() };
        let rows = match format {
            Format::Csv => {
                let mut reader = csv::Reader::from_reader(BufReader::new(file));
                let found = reader.headers().map_err(|error| failed(path, &error))?;
                if !found.is_empty() && found.iter().ne(columns.header()) {
                    return Err(header());
                }
                Rows::Csv(Box::new(reader), csv::StringRecord::new())
            }
            Format::JsonLines => Rows::JsonLines(BufReader::new(file).lines(), 0),
            Format::Parquet => {
                let table = ParquetTable::open(path).map_err(|error| PredictionsError::Read {
                    path: path.into(),
                    reason: error.problem.to_string(),
                })?;
                if table.columns().ne(columns.header()) {
                    return Err(header());
                }
                Rows::Parquet(Box::new(table), 0)
            }
        };
        Ok(Self {
            path: path.into(),
            columns: columns.clone(),
            rows,
            is_done: false,
        })
    }

    fn read(&mut self) -> Result<Option<Row<'static>>, PredictionsError> {
        let (path, columns) = (&self.path, &self.columns);
        let damaged = |line| PredictionsError::Line {
            path: path.clone(),
            line,
        };
        match &mut self.rows {
            Rows::Csv(reader, record) => {
                if !reader
                    .read_record(record)
                    .map_err(|error| failed(path, &error))?
                {
                    return Ok(None);
                }
                let line = record.position().map_or(0, csv::Position::line);
                let row = Row::from_csv(record, columns).ok_or_else(|| damaged(line))?;
                Ok(Some(row.into_owned()))
            }
            Rows::JsonLines(lines, line) => {
                let Some(text) = lines.next() else {
                    return Ok(None);
                };
                *line += 1;
                let text = text.map_err(|error| failed(path, &error))?;
                let row: Row<'_> = serde_json::from_str(&text).map_err(|_| damaged(*line))?;
                if !row.fits(columns) {
                    return Err(damaged(*line));
                }
                Ok(Some(row.into_owned()))
            }
            Rows::Parquet(table, line) => {
                let Some(cells) = table.next() else {
                    return Ok(None);
                };
                *line += 1;
                let cells = cells.map_err(|error| failed(path, &error.problem))?;
                let row = of_cells(cells, columns).ok_or_else(|| damaged(*line))?;
                Ok(Some(row))
            }
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Row<'static>, PredictionsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let row = self.read().transpose();
        self.is_done = !matches!(row, Some(Ok(_)));
        row
    }
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> PredictionsError {
    PredictionsError::Read {
        path: path.into(),
        reason: error.to_string(),
    }
}

/// Makes a row of the cells of a table with these columns; nothing if they are of other types.
fn of_cells(cells: Vec<Cell>, columns: &Columns) -> Option<Row<'static>> {
    let mut cells = cells.into_iter();
    let Some(Cell::Integer(index)) = cells.next() else {
        return None;
    };
    let mut text = |present: bool| {
        if !present {
            return Some(None);
        }
        match cells.next()? {
            Cell::Text(text) => Some(Some(Cow::Owned(text))),
            // As an empty field of CSV.
            Cell::Null => Some(Some(Cow::Borrowed(""))),
            Cell::Integer(_) | Cell::Float(_) => None,
        }
    };
    let path = text(columns.path)?;
    let label = text(columns.label)?;
    let predicted = text(true)??;
    let values = cells.map(|cell| match cell {
        Cell::Float(value) => Some(value),
        Cell::Null | Cell::Integer(_) | Cell::Text(_) => None,
    });
    let mut values = values.collect::<Option<Vec<f32>>>()?.into_iter();
    let probability = values.next()?;
    let mut probabilities: Vec<f32> = values.collect();
    let logits = probabilities.split_off(columns.classes.len().min(probabilities.len()));
    let row = Row {
        index: index.try_into().ok()?,
        path,
        label,
        predicted,
        probability,
        probabilities: probabilities.into(),
        logits: logits.into(),
    };
    row.fits(columns).then_some(row)
}
