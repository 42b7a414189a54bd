//! The one look of all tables: a line under the header and nothing else, as scikit-learn's reports
//! have it.

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};

use kiln_util::shown;

const LOOK: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// Longest label that a table shows, in characters; [`shown`] cuts it.
pub const MAX_LABEL: usize = 32;

/// A table of words and numbers as text: the columns from number `first_number` on, counted from 0,
/// are right-aligned, those before left-aligned. No trailing blanks, no line break at the end. What
/// would break a line or mislead a terminal is replaced, as by [`shown`].
pub fn text_table<H: Into<String>, C: Into<String>>(
    header: impl IntoIterator<Item = H>,
    rows: impl IntoIterator<Item = impl IntoIterator<Item = C>>,
    first_number: usize,
) -> String {
    let cell = |cell: C| shown(&cell.into(), usize::MAX);
    let rows = rows
        .into_iter()
        .map(|row| row.into_iter().map(cell).collect::<Vec<String>>());
    let mut table = Table::new();
    table
        .load_style(LOOK)
        .set_header(header.into_iter().map(Into::into).collect::<Vec<String>>())
        .add_rows(rows);
    for column in table.column_iter_mut().skip(first_number) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}
