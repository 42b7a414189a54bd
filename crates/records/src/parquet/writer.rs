//! Writing a flat table: whole numbers, floats and text, compressed by Snappy, one page per column and row group.

use std::io::{self, Write};

use super::footer::MAGIC;
use super::thrift::{Writer, kind};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// 64 bits, never null.
    Integer,
    /// 32 bits, never null.
    Float,
    /// UTF-8, or null.
    Text,
}

/// A column that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterColumn {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
}

/// The values of a column in a row group.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnValues {
    /// Whole numbers.
    Integer(Vec<i64>),
    /// Floats.
    Float(Vec<f32>),
    /// Texts.
    Text(Vec<Option<String>>),
}

impl ColumnValues {
    /// Creates a column without values.
    pub const fn new(kind: ColumnKind) -> Self {
        match kind {
            ColumnKind::Integer => Self::Integer(Vec::new()),
            ColumnKind::Float => Self::Float(Vec::new()),
            ColumnKind::Text => Self::Text(Vec::new()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Integer(values) => values.len(),
            Self::Float(values) => values.len(),
            Self::Text(values) => values.len(),
        }
    }

    /// The bytes of a page: levels of what may be null, and values one after another.
    fn page(&self) -> Vec<u8> {
        match self {
            Self::Integer(values) => values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
            Self::Float(values) => values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
            Self::Text(values) => {
                let levels = levels(values.iter().map(Option::is_some));
                let mut page = (levels.len() as u32).to_le_bytes().to_vec();
                page.extend(levels);
                for text in values.iter().flatten() {
                    page.extend((text.len() as u32).to_le_bytes());
                    page.extend(text.as_bytes());
                }
                page
            }
        }
    }
}

/// Runs of equal levels: 1 where there is a value.
fn levels(present: impl Iterator<Item = bool>) -> Vec<u8> {
    let mut runs: Vec<(u64, bool)> = Vec::new();
    for level in present {
        match runs.last_mut() {
            Some((count, last)) if *last == level => *count += 1,
            _ => runs.push((1, level)),
        }
    }
    let mut bytes = Vec::new();
    for (count, level) in runs {
        let mut header = count << 1;
        while header >= 0x80 {
            bytes.push(header as u8 | 0x80);
            header >>= 7;
        }
        bytes.extend([header as u8, u8::from(level)]);
    }
    bytes
}

/// Where a column's values of one row group were written.
struct Chunk {
    start: u64,
    length: u64,
    unpacked: u64,
    values: usize,
}

/// Writes a Parquet file, a row group at a time. Without [`finish`](Self::finish) it cannot be read.
pub struct ParquetWriter<W> {
    out: W,
    at: u64,
    columns: Vec<WriterColumn>,
    groups: Vec<Vec<Chunk>>,
}

/// The number of Snappy.
const SNAPPY: i32 = 1;

impl<W: Write> ParquetWriter<W> {
    /// Begins a file.
    pub fn new(mut out: W, columns: Vec<WriterColumn>) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        Ok(Self {
            out,
            at: MAGIC.len() as u64,
            columns,
            groups: Vec::new(),
        })
    }

    /// Writes a row group: the values of each column, equally many, at most 2 GiB of each.
    pub fn write_group(&mut self, values: &[ColumnValues]) -> io::Result<()> {
        let mut chunks = Vec::with_capacity(values.len());
        for column in values {
            let page = column.page();
            let packed = snap::raw::Encoder::new().compress_vec(&page);
            let packed = packed.map_err(io::Error::other)?;
            let size = |bytes: &[u8]| {
                i32::try_from(bytes.len()).map_err(|_| io::Error::other("a row group is too large"))
            };
            let mut header = Writer::new();
            header.i32(1, 0);
            header.i32(2, size(&page)?);
            header.i32(3, size(&packed)?);
            header.begin(5);
            header.i32(1, column.len() as i32);
            header.i32(2, 0);
            header.i32(3, 3);
            header.i32(4, 3);
            header.end();
            header.end();
            self.out.write_all(&header.bytes)?;
            self.out.write_all(&packed)?;
            let of_header = header.bytes.len() as u64;
            chunks.push(Chunk {
                start: self.at,
                length: of_header + packed.len() as u64,
                unpacked: of_header + page.len() as u64,
                values: column.len(),
            });
            self.at += of_header + packed.len() as u64;
        }
        self.groups.push(chunks);
        Ok(())
    }

    /// Hands over what was written so far.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Writes the index and returns what was written to; `notes` are keys and values of the writer.
    pub fn finish(mut self, notes: &[(&str, &str)]) -> io::Result<W> {
        let footer = self.footer(notes);
        self.out.write_all(&footer)?;
        self.out.write_all(&(footer.len() as u32).to_le_bytes())?;
        self.out.write_all(MAGIC)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn footer(&self, notes: &[(&str, &str)]) -> Vec<u8> {
        let rows_of = |group: &Vec<Chunk>| group.first().map_or(0, |chunk| chunk.values as i64);
        let mut footer = Writer::new();
        footer.i32(1, 1);
        footer.list(2, kind::STRUCT, self.columns.len() + 1);
        footer.element();
        footer.text(4, "schema");
        footer.i32(5, self.columns.len() as i32);
        footer.end();
        for column in &self.columns {
            footer.element();
            footer.i32(1, column.kind.physical());
            footer.i32(3, i32::from(column.kind == ColumnKind::Text));
            footer.text(4, &column.name);
            if column.kind == ColumnKind::Text {
                footer.i32(6, 0);
                footer.begin(10);
                footer.begin(1);
                footer.end();
                footer.end();
            }
            footer.end();
        }
        footer.i64(3, self.groups.iter().map(rows_of).sum());
        footer.list(4, kind::STRUCT, self.groups.len());
        for group in &self.groups {
            footer.element();
            footer.list(1, kind::STRUCT, group.len());
            for (chunk, column) in group.iter().zip(&self.columns) {
                footer.element();
                footer.i64(2, chunk.start as i64);
                footer.begin(3);
                footer.i32(1, column.kind.physical());
                footer.list(2, kind::I32, 2);
                footer.element_i32(0);
                footer.element_i32(3);
                footer.list(3, kind::BINARY, 1);
                footer.element_text(&column.name);
                footer.i32(4, SNAPPY);
                footer.i64(5, chunk.values as i64);
                footer.i64(6, chunk.unpacked as i64);
                footer.i64(7, chunk.length as i64);
                footer.i64(9, chunk.start as i64);
                footer.end();
                footer.end();
            }
            footer.i64(2, group.iter().map(|chunk| chunk.unpacked as i64).sum());
            footer.i64(3, rows_of(group));
            footer.end();
        }
        if !notes.is_empty() {
            footer.list(5, kind::STRUCT, notes.len());
            for (key, value) in notes {
                footer.element();
                footer.text(1, key);
                footer.text(2, value);
                footer.end();
            }
        }
        footer.text(6, concat!("kiln version ", env!("CARGO_PKG_VERSION")));
        footer.end();
        footer.bytes
    }
}

impl ColumnKind {
    /// The number of its physical type.
    const fn physical(self) -> i32 {
        match self {
            Self::Integer => 2,
            Self::Float => 4,
            Self::Text => 6,
        }
    }
}
