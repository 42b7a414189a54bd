//! A flat table read row by row: predictions that were written before.

use std::path::Path;

use super::column::{Column, Value};
use super::footer::Footer;
use crate::error::{Problem, RecordsError};
use crate::source::Source;

/// A value of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// None.
    Null,
    /// A whole number.
    Integer(i64),
    /// A float of 32 bits.
    Float(f32),
    /// Text.
    Text(String),
}

/// The rows of a Parquet file of columns that are whole numbers, floats of 32 bits or text; after an error there are no
/// more.
pub struct ParquetTable {
    source: Source,
    footer: Footer,
    group: usize,
    left: u64,
    columns: Vec<Column>,
}

impl ParquetTable {
    /// Opens a file.
    pub fn open(path: &Path) -> Result<Self, RecordsError> {
        Self::of(Source::open(path)?)
    }

    pub(crate) fn of(source: Source) -> Result<Self, RecordsError> {
        let footer = Footer::read(&source).map_err(|problem| problem.of(source.path()))?;
        Ok(Self {
            source,
            footer,
            group: 0,
            left: 0,
            columns: Vec::new(),
        })
    }

    /// Returns the names of the columns; of those within others the outermost.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.footer.columns.iter().map(|leaf| leaf.path[0].as_str())
    }

    /// Returns the number of rows.
    pub fn row_count(&self) -> u64 {
        self.footer.groups.iter().map(|group| group.rows).sum()
    }

    fn row(&mut self) -> Result<Option<Vec<Cell>>, Problem> {
        while self.left == 0 {
            let Some(group) = self.footer.groups.get(self.group) else {
                return Ok(None);
            };
            self.left = group.rows;
            let columns = 0..self.footer.columns.len();
            let chunks = columns.map(|at| self.footer.chunk(self.group, at, self.source.length()));
            self.columns = chunks
                .map(|chunk| Ok(Column::new(&self.source, &chunk?)))
                .collect::<Result<_, Problem>>()?;
            self.group += 1;
        }
        self.left -= 1;
        let cells = self.columns.iter_mut().map(|column| {
            Ok(match column.next()? {
                Value::Null => Cell::Null,
                Value::Integer(number) => Cell::Integer(number),
                Value::Float(number) => Cell::Float(number),
                Value::Bytes(bytes) => Cell::Text(String::from_utf8_lossy(bytes).into_owned()),
            })
        });
        cells.collect::<Result<_, Problem>>().map(Some)
    }
}

impl Iterator for ParquetTable {
    type Item = Result<Vec<Cell>, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.row().transpose()?;
        if row.is_err() {
            self.left = 0;
            self.group = self.footer.groups.len();
        }
        Some(row.map_err(|problem| problem.of(self.source.path())))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::writer::{ColumnKind, ColumnValues, ParquetWriter, WriterColumn};
    use super::*;
    use crate::testing::Memory;

    #[test]
    fn what_is_written_is_read() {
        let column = |name: &str, kind| WriterColumn {
            name: name.into(),
            kind,
        };
        let columns = vec![
            column("index", ColumnKind::Integer),
            column("path", ColumnKind::Text),
            column("p_a", ColumnKind::Float),
        ];
        let mut writer = ParquetWriter::new(Vec::new(), columns).unwrap();
        let text = |text: &str| Some(text.to_owned());
        for start in [0, 200] {
            let present = |at: i64| (at % 3 != 0).then(|| format!("{at}.png"));
            let values = [
                ColumnValues::Integer((start..start + 200).collect()),
                ColumnValues::Text((start..start + 200).map(present).collect()),
                ColumnValues::Float((start..start + 200).map(|at| at as f32 / 7.0).collect()),
            ];
            writer.write_group(&values).unwrap();
        }
        let bytes = writer.finish(&[("origin", "{}")]).unwrap();
        let length = bytes.len() as u64;
        let source = Source::new(Path::new("t"), length, Arc::new(Memory(bytes)));
        let table = ParquetTable::of(source).unwrap();
        assert_eq!(
            table.columns().collect::<Vec<_>>(),
            ["index", "path", "p_a"]
        );
        assert_eq!(table.row_count(), 400);
        for (at, row) in (0..).zip(table) {
            let path = if at % 3 == 0 {
                None
            } else {
                text(&format!("{at}.png"))
            };
            let path = path.map_or(Cell::Null, Cell::Text);
            assert_eq!(
                row.unwrap(),
                [Cell::Integer(at), path, Cell::Float(at as f32 / 7.0)]
            );
        }
    }
}
