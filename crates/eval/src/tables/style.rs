//! The one look of all tables: a line under the header and nothing else, as scikit-learn's reports have it.

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};

const LOOK: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// Longest label that a table shows.
pub(super) const MAX_LABEL: usize = 32;

/// A table from its header and rows: the first column is left-aligned, the others right-aligned. No trailing blanks,
/// no line break at the end.
pub(super) fn render(header: Vec<String>, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(LOOK).force_no_tty().set_header(header).add_rows(rows);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}
