//! Predictions as a Parquet file, in the columns that CSV has.

use std::io::{self, Write};

use kiln_records::{ColumnKind, ColumnValues, ParquetWriter, WriterColumn};

use super::row::{Columns, Row};

/// Most rows of a row group.
const ROWS: usize = 1 << 16;

/// Most values of a row group, so that memory does not grow with the classes.
const VALUES: usize = 1 << 23;

/// Gathers rows, and writes them a row group at a time.
pub(super) struct TableWriter<W: Write> {
    /// None once the file is finished.
    out: Option<ParquetWriter<W>>,
    columns: Columns,
    kinds: Vec<ColumnKind>,
    values: Vec<ColumnValues>,
    rows: usize,
}

impl<W: Write> TableWriter<W> {
    pub fn new(out: W, columns: Columns) -> io::Result<Self> {
        let texts = usize::from(columns.path) + usize::from(columns.label) + 1;
        let kind = |at: usize| match at {
            0 => ColumnKind::Integer,
            at if at <= texts => ColumnKind::Text,
            _ => ColumnKind::Float,
        };
        let header = columns.header();
        let kinds: Vec<ColumnKind> = (0..header.len()).map(kind).collect();
        let header = header.into_iter().zip(&kinds);
        let header = header.map(|(name, &kind)| WriterColumn { name, kind });
        Ok(Self {
            out: Some(ParquetWriter::new(out, header.collect())?),
            columns,
            values: kinds.iter().copied().map(ColumnValues::new).collect(),
            kinds,
            rows: 0,
        })
    }

    pub fn write(&mut self, row: &Row<'_>) -> io::Result<()> {
        let text = |text: Option<&str>| Some(text.unwrap_or_default().to_owned());
        let texts = [
            self.columns.path.then(|| text(row.path.as_deref())),
            self.columns.label.then(|| text(row.label.as_deref())),
            Some(text(Some(&row.predicted))),
        ];
        let mut texts = texts.into_iter().flatten();
        let numbers = row.probabilities.iter().chain(&*row.logits);
        let mut numbers = std::iter::once(&row.probability).chain(numbers);
        for column in &mut self.values {
            match column {
                ColumnValues::Integer(values) => values.push(row.index as i64),
                ColumnValues::Text(values) => values.push(texts.next().flatten()),
                ColumnValues::Float(values) => {
                    values.push(numbers.next().copied().unwrap_or(f32::NAN));
                }
            }
        }
        self.rows += 1;
        if self.rows >= ROWS.min(VALUES / self.kinds.len().max(1)).max(1) {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(out) = &mut self.out else {
            return Err(io::Error::other("the file is finished"));
        };
        if self.rows > 0 {
            out.write_group(&self.values)?;
            self.values = self.kinds.iter().copied().map(ColumnValues::new).collect();
            self.rows = 0;
        }
        out.flush()
    }

    /// Writes what is left and the index, without which the file cannot be read.
    pub fn finish(&mut self) -> io::Result<()> {
        if self.out.is_some() {
            self.flush()?;
        }
        match self.out.take() {
            Some(out) => out.finish(&[]).map(drop),
            None => Ok(()),
        }
    }
}
