//! A table before it is written.

use super::style::text_table;

/// Words and numbers in rows and columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Names of the columns.
    pub header: Vec<String>,
    /// As many cells in each row as there are columns; a row of empty cells sets apart what
    /// follows.
    pub rows: Vec<Vec<String>>,
    /// Columns from this one on, counted from 0, are numbers.
    pub first_number: usize,
}

impl Table {
    /// A table of these cells.
    pub fn new<H: Into<String>, C: Into<String>>(
        header: impl IntoIterator<Item = H>,
        rows: impl IntoIterator<Item = impl IntoIterator<Item = C>>,
        first_number: usize,
    ) -> Self {
        let rows = rows
            .into_iter()
            .map(|row| row.into_iter().map(Into::into).collect());
        Self {
            header: header.into_iter().map(Into::into).collect(),
            rows: rows.collect(),
            first_number,
        }
    }

    /// As [`text_table`] writes it.
    pub fn to_text(&self) -> String {
        text_table(
            self.header.iter().map(String::as_str),
            self.rows.iter().map(|row| row.iter().map(String::as_str)),
            self.first_number,
        )
    }
}
