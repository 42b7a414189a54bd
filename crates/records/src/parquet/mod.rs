//! Parquet as images come in it: a column of encoded images and one of labels, row group by row group.
//!
//! The format is described on <https://parquet.apache.org/docs/file-format/>. Of it there is what such files have:
//! columns without repetition, of bytes or whole numbers. The crate `parquet` takes 77 seconds of processor time to
//! compile with these codecs, of which none has to be of C; and it reserves what a page announces, 2 GiB if it says so.
//!
//! | to find | look in |
//! | --- | --- |
//! | which columns are read, and row by row | `file` |
//! | columns and row groups of a file | `footer` |
//! | a column's pages and values | `column` |
//! | levels and values within a page | `encoding` |
//! | compression | `codec` |
//! | tables of predictions, written and read | `writer`, `table` |
//! | the protocol of the headers | `thrift` |

mod codec;
mod column;
mod encoding;
mod file;
mod footer;
mod table;
mod thrift;
mod writer;

pub(crate) use file::{ParquetFile, Rows};
pub use table::{Cell, ParquetTable};
pub use writer::{ColumnKind, ColumnValues, ParquetWriter, WriterColumn};
