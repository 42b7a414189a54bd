//! Writing rows of predictions, as CSV, JSON or Parquet.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::row::{Columns, Row};
use super::table::TableWriter;
use crate::error::predictions::PredictionsError;

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A header and lines of `index`, `path`, `label`, `predicted`, `probability`, the probability
    /// of each class (`p_…`) and, of a model that outputs logits, these (`logit_…`).
    Csv,
    /// A JSON object a line, with the same names; `probabilities` and `logits` in the order of the
    /// classes.
    JsonLines,
    /// The columns of CSV in a Parquet file, which can be read once it is finished.
    Parquet,
}

impl Format {
    /// Returns the format of a file by the ending of its name; CSV where there is none, as of
    /// devices and pipes. Another ending is an error, since the file would not be what it is
    /// called.
    pub fn of(path: &Path) -> Result<Self, PredictionsError> {
        let Some(ending) = path.extension() else {
            return Ok(Self::Csv);
        };
        match ending.to_string_lossy().to_lowercase().as_str() {
            "jsonl" | "ndjson" => Ok(Self::JsonLines),
            "csv" => Ok(Self::Csv),
            "parquet" | "pq" => Ok(Self::Parquet),
            _ => Err(PredictionsError::Ending { path: path.into() }),
        }
    }
}

/// Lines from one flush to the next, where nothing else is asked for.
const FLUSH_EVERY: u32 = 64;

/// Returns the number of lines from one flush to the next for batches of this size: a batch, so
/// that what is computed does not wait for more, but at most 64.
pub fn flush_interval(batch_size: Option<u32>) -> u32 {
    batch_size.map_or(FLUSH_EVERY, |size| size.min(FLUSH_EVERY))
}

/// Buffers lines, and flushes them every few dozen, so that what reads along does not wait long.
pub struct LineWriter<W: Write> {
    out: BufWriter<W>,
    /// Lines since the last flush.
    waiting: u32,
    flush_every: u32,
}

impl<W: Write> LineWriter<W> {
    /// Creates a writer that flushes every 64 lines.
    pub fn new(out: W) -> Self {
        Self {
            out: BufWriter::with_capacity(1 << 16, out),
            waiting: 0,
            flush_every: FLUSH_EVERY,
        }
    }

    /// Flushes after this many lines.
    #[must_use]
    pub fn flush_every(mut self, lines: u32) -> Self {
        self.flush_every = lines;
        self
    }

    /// Ends a line that `write` writes.
    pub fn line(
        &mut self,
        write: impl FnOnce(&mut BufWriter<W>) -> io::Result<()>,
    ) -> io::Result<()> {
        write(&mut self.out)?;
        self.out.write_all(b"\n")?;
        self.waiting += 1;
        if self.waiting >= self.flush_every {
            self.flush()?;
        }
        Ok(())
    }

    /// Hands over what was not yet.
    pub fn flush(&mut self) -> io::Result<()> {
        self.waiting = 0;
        self.out.flush()
    }
}

/// Writes rows; they are flushed every few dozen or, with [`flush_every`](Self::flush_every), more
/// often, and at the end by [`finish`](Self::finish).
pub struct Writer<W: Write> {
    columns: Columns,
    out: Out<W>,
}

enum Out<W: Write> {
    Csv(LineWriter<W>),
    JsonLines(LineWriter<W>),
    Parquet(Box<TableWriter<W>>),
}

impl<W: Write> Writer<W> {
    /// Creates a writer of rows to `out`, after a header unless there is one already.
    pub fn new(out: W, format: Format, columns: Columns, header: bool) -> io::Result<Self> {
        let out = match format {
            Format::Csv => {
                let mut lines = LineWriter::new(out);
                if header {
                    let header = columns.header();
                    let line = quoted(header.iter().map(String::as_str))?;
                    lines.line(|out| out.write_all(&line))?;
                }
                Out::Csv(lines)
            }
            Format::JsonLines => Out::JsonLines(LineWriter::new(out)),
            Format::Parquet => Out::Parquet(Box::new(TableWriter::new(out, columns.clone())?)),
        };
        Ok(Self { columns, out })
    }

    /// Flushes after this many rows.
    #[must_use]
    pub fn flush_every(mut self, rows: u32) -> Self {
        self.out = match self.out {
            Out::Csv(lines) => Out::Csv(lines.flush_every(rows)),
            Out::JsonLines(lines) => Out::JsonLines(lines.flush_every(rows)),
            // Row groups are as large as they are.
            Out::Parquet(table) => Out::Parquet(table),
        };
        self
    }

    /// Writes a row.
    pub fn write(&mut self, row: &Row<'_>) -> io::Result<()> {
        match &mut self.out {
            Out::JsonLines(lines) => {
                lines.line(|out| serde_json::to_writer(out, row).map_err(io::Error::from))
            }
            Out::Csv(lines) => {
                let record = csv(row, &self.columns)?;
                lines.line(|out| out.write_all(&record))
            }
            Out::Parquet(table) => table.write(row),
        }
    }

    /// Hands over what was not yet; of Parquet ends the file.
    pub fn finish(&mut self) -> io::Result<()> {
        match &mut self.out {
            Out::Csv(lines) | Out::JsonLines(lines) => lines.flush(),
            Out::Parquet(table) => table.finish(),
        }
    }
}

/// The line of a row in CSV.
fn csv(row: &Row<'_>, columns: &Columns) -> io::Result<Vec<u8>> {
    let index = row.index.to_string();
    let path = columns
        .path
        .then(|| row.path.as_deref().unwrap_or_default());
    let label = columns
        .label
        .then(|| row.label.as_deref().unwrap_or_default());
    let probability = row.probability.to_string();
    let values: Vec<String> = row
        .probabilities
        .iter()
        .chain(&*row.logits)
        .map(ToString::to_string)
        .collect();
    let fixed = [
        Some(index.as_str()),
        path,
        label,
        Some(&row.predicted),
        Some(probability.as_str()),
    ];
    let values = values.iter().map(String::as_str);
    quoted(fixed.into_iter().flatten().chain(values))
}

/// Quotes fields as csv does, without the end of the line.
fn quoted<'a>(fields: impl Iterator<Item = &'a str>) -> io::Result<Vec<u8>> {
    let mut line = csv::Writer::from_writer(Vec::with_capacity(256));
    line.write_record(fields)?;
    let mut bytes = line.into_inner().map_err(csv::IntoInnerError::into_error)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_decides() {
        let of = |name: &str| Format::of(Path::new(name)).map_err(|error| error.to_string());
        for (name, format) in [
            ("a.jsonl", Format::JsonLines),
            ("a.NDJSON", Format::JsonLines),
            ("a.csv", Format::Csv),
            ("a.parquet", Format::Parquet),
            ("/dev/stdout", Format::Csv),
        ] {
            assert_eq!(of(name), Ok(format));
        }
        for name in ["z.json", "z.tsv", "z.csv.gz", "out.txt"] {
            let message = of(name).unwrap_err();
            assert!(
                message.contains("ends in none of .csv, .jsonl"),
                "{message}"
            );
        }
    }

    #[test]
    fn lines_are_handed_over_together() {
        struct Flushes<'a>(&'a mut Vec<usize>);
        impl Write for Flushes<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.push(bytes.len());
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut flushed = Vec::new();
        let mut lines = LineWriter::new(Flushes(&mut flushed)).flush_every(2);
        for _ in 0..5 {
            lines.line(|out| out.write_all(b"abc")).unwrap();
        }
        lines.flush().unwrap();
        drop(lines);
        assert_eq!(flushed, [8, 8, 4]);
        assert_eq!(flush_interval(Some(1)), 1);
        assert_eq!(flush_interval(Some(999)), FLUSH_EVERY);
    }

    fn columns() -> Columns {
        Columns {
            path: true,
            label: true,
            classes: vec!["a,b".into(), "c".into()],
            logits: true,
        }
    }

    fn row() -> Row<'static> {
        Row {
            index: 7,
            path: Some("x \"y\".png".into()),
            label: Some("c".into()),
            predicted: "a,b".into(),
            probability: 0.75,
            probabilities: vec![0.75, 0.25].into(),
            logits: vec![2.5, -1.0].into(),
        }
    }

    fn written(format: Format, columns: Columns) -> String {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes, format, columns, true).unwrap();
        writer.write(&row()).unwrap();
        writer.finish().unwrap();
        drop(writer);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lines_have_the_columns_of_the_header() {
        let expected = "index,path,label,predicted,probability,\"p_a,b\",p_c,\"logit_a,b\",logit_c\n7,\"x \"\"y\"\".png\",c,\"a,b\",0.75,0.75,0.25,2.5,-1\n";
        assert_eq!(written(Format::Csv, columns()), expected);
        let bare = Columns {
            path: false,
            label: false,
            ..columns()
        };
        assert_eq!(
            written(Format::Csv, bare).lines().last(),
            Some("7,\"a,b\",0.75,0.75,0.25,2.5,-1")
        );
    }

    #[test]
    fn json_lines_are_read_back() {
        let text = written(Format::JsonLines, columns());
        assert_eq!(text.matches('\n').count(), 1);
        assert_eq!(serde_json::from_str::<Row<'_>>(&text).unwrap(), row());
    }
}
