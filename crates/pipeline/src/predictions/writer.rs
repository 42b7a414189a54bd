//! One line per image.

use std::io::{self, Write};

use super::{Columns, Format, LineWriter, Row};

/// Writes rows; they are flushed every few dozen or, with [`flush_every`](Self::flush_every), more
/// often, and at the end by [`finish`](Self::finish).
pub struct Writer<W: Write> {
    format: Format,
    columns: Columns,
    lines: LineWriter<W>,
}

impl<W: Write> Writer<W> {
    /// Creates a writer of rows to `out`, after a header unless there is one already.
    pub fn new(out: W, format: Format, columns: Columns, header: bool) -> io::Result<Self> {
        let mut lines = LineWriter::new(out);
        if header && format == Format::Csv {
            let header = columns.header();
            let line = quoted(header.iter().map(String::as_str))?;
            lines.line(|out| out.write_all(&line))?;
        }
        Ok(Self {
            format,
            columns,
            lines,
        })
    }

    /// Flushes after this many rows.
    #[must_use]
    pub fn flush_every(mut self, rows: u32) -> Self {
        self.lines = self.lines.flush_every(rows);
        self
    }

    /// Writes a row.
    pub fn write(&mut self, row: &Row<'_>) -> io::Result<()> {
        match self.format {
            Format::JsonLines => self
                .lines
                .line(|out| serde_json::to_writer(out, row).map_err(io::Error::from)),
            Format::Csv => {
                let record = self.csv(row)?;
                self.lines.line(|out| out.write_all(&record))
            }
        }
    }

    /// Hands over what was not yet.
    pub fn finish(&mut self) -> io::Result<()> {
        self.lines.flush()
    }

    fn csv(&self, row: &Row<'_>) -> io::Result<Vec<u8>> {
        let index = row.index.to_string();
        let path = self
            .columns
            .path
            .then(|| row.path.as_deref().unwrap_or_default());
        let label = self
            .columns
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
