//! One line per image.

use std::io::{self, Write};
use std::path::Path;

use kiln_inference::{Classified, Model, OutputKind};
use kiln_metrics::argmax;
use kiln_util::shown;
use serde::{Deserialize, Serialize};

use crate::inputs::{Input, Inputs};
use kiln_util::counted;

/// Longest part of a class's name in a message.
const LONGEST: usize = 40;

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A header and lines of `index`, `path`, `label`, `predicted`, `probability`, the probability
    /// of each class (`p_…`) and, of a model that outputs logits, these (`logit_…`).
    Csv,
    /// A JSON object a line, with the same names; `probabilities` and `logits` in the order of the
    /// classes.
    JsonLines,
}

impl Format {
    /// By the ending of a file's name; CSV where there is none, as of devices and pipes. Another
    /// ending is an error, since the file would not be what it is called.
    pub fn of(path: &Path) -> Result<Self, String> {
        let Some(ending) = path.extension() else {
            return Ok(Self::Csv);
        };
        match ending.to_string_lossy().to_lowercase().as_str() {
            "jsonl" | "ndjson" => Ok(Self::JsonLines),
            "csv" | "txt" => Ok(Self::Csv),
            _ => Err(format!(
                "`{}` ends in neither .csv nor .jsonl: end it in one of them",
                path.display()
            )),
        }
    }
}

/// Which columns there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Columns {
    /// Whether images have paths.
    pub path: bool,
    /// Whether images have labels.
    pub label: bool,
    /// Names of the classes, in the order of the model's output.
    pub classes: Vec<String>,
    /// Whether lines hold logits, which probabilities alone cannot be turned back into.
    pub logits: bool,
}

impl Columns {
    /// Those of a source and a model.
    pub fn of(inputs: &Inputs, model: &Model) -> Self {
        Self {
            path: inputs.has_paths,
            label: inputs.has_labels,
            classes: model.labels().to_vec(),
            logits: model.output_kind() == OutputKind::Logits,
        }
    }

    /// The header of a CSV file.
    pub fn header(&self) -> Vec<String> {
        let classes = |prefix| {
            self.classes
                .iter()
                .map(move |class| format!("{prefix}_{class}"))
        };
        let logits = self.logits.then(|| classes("logit")).into_iter().flatten();
        self.fixed()
            .map(String::from)
            .chain(classes("p"))
            .chain(logits)
            .collect()
    }

    /// The first difference between the columns of a file and these.
    pub fn difference(&self, expected: &Self) -> Option<String> {
        let fixed = |columns: &Self| columns.fixed().collect::<Vec<_>>().join(",");
        if (self.path, self.label) != (expected.path, expected.label) {
            return Some(format!(
                "it has the columns {}, expected {}",
                fixed(self),
                fixed(expected)
            ));
        }
        let mut pairs = self.classes.iter().zip(&expected.classes);
        if let Some(at) = pairs.position(|(found, expected)| found != expected) {
            let [found, expected] =
                [self, expected].map(|columns| shown(&columns.classes[at], LONGEST));
            return Some(format!(
                "its class {at} is `{found}`, that of this model `{expected}`"
            ));
        }
        if self.classes.len() != expected.classes.len() {
            let classes = counted(self.classes.len() as u64, "class");
            return Some(format!(
                "it has {classes}, this model {}",
                expected.classes.len()
            ));
        }
        (self.logits != expected.logits)
            .then(|| "only one of it and this model has logits".to_owned())
    }

    /// The columns in front of those of the classes.
    fn fixed(&self) -> impl Iterator<Item = &'static str> {
        let columns = [
            Some("index"),
            self.path.then_some("path"),
            self.label.then_some("label"),
            Some("predicted"),
        ];
        columns.into_iter().flatten().chain(["probability"])
    }
}

/// A line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row<'a> {
    /// Place of the image among all images of the source, from 0.
    pub index: u64,
    /// The path of its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<std::borrow::Cow<'a, str>>,
    /// Its class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<std::borrow::Cow<'a, str>>,
    /// The class it was taken for.
    pub predicted: std::borrow::Cow<'a, str>,
    /// How sure the model was, 0 to 1.
    pub probability: f32,
    /// The probability of each class.
    pub probabilities: std::borrow::Cow<'a, [f32]>,
    /// The score of each class where the model outputs logits; empty where it outputs
    /// probabilities. What is measured from these again is what was measured from them at first, to
    /// the last bit.
    #[serde(default, skip_serializing_if = "<[f32]>::is_empty")]
    pub logits: std::borrow::Cow<'a, [f32]>,
}

impl<'a> Row<'a> {
    /// The line of an image.
    pub fn new(input: &'a Input, classified: &Classified<'a>, model: &'a Model) -> Self {
        let classes = model.labels();
        let logits = if model.output_kind() == OutputKind::Logits {
            classified.scores
        } else {
            &[]
        };
        // By score, as the metrics are: rounding can make two probabilities equal.
        let predicted = argmax(classified.scores).expect("the model gives finite scores");
        Self {
            index: input.index,
            path: input.path(),
            label: input
                .label
                .map(|label| classes[label as usize].as_str().into()),
            predicted: classes[predicted].as_str().into(),
            probability: classified.probabilities[predicted],
            probabilities: classified.probabilities.into(),
            logits: logits.into(),
        }
    }
}

impl Row<'_> {
    /// Whether it has what these columns say, and nothing else.
    pub fn fits(&self, columns: &Columns) -> bool {
        let classes = columns.classes.len();
        let logits = if columns.logits { classes } else { 0 };
        let present = (self.path.is_some(), self.label.is_some());
        present == (columns.path, columns.label)
            && [self.probabilities.len(), self.logits.len()] == [classes, logits]
    }
}

/// Writes lines; what it has is flushed every few dozen lines or, with
/// [`flush_every`](Self::flush_every), more often, and at the end by [`finish`](Self::finish).
pub struct Writer<W: Write> {
    format: Format,
    columns: Columns,
    out: io::BufWriter<W>,
    /// Lines since the last flush.
    waiting: u32,
    /// Lines from one flush to the next.
    flush_every: u32,
}

impl<W: Write> Writer<W> {
    /// Lines written to `out`, below a header unless there is one already.
    pub fn new(out: W, format: Format, columns: Columns, header: bool) -> io::Result<Self> {
        let mut writer = Self {
            format,
            columns,
            out: io::BufWriter::with_capacity(1 << 16, out),
            waiting: 0,
            flush_every: 64,
        };
        if header && format == Format::Csv {
            let header = writer.columns.header();
            writer.record(header.iter().map(String::as_str))?;
        }
        Ok(writer)
    }

    /// The same, flushed after so many lines.
    #[must_use]
    pub fn flush_every(self, lines: u32) -> Self {
        Self {
            flush_every: lines,
            ..self
        }
    }

    /// Writes a line.
    pub fn write(&mut self, row: &Row<'_>) -> io::Result<()> {
        match self.format {
            Format::JsonLines => {
                serde_json::to_writer(&mut self.out, row)?;
                self.out.write_all(b"\n")?;
            }
            Format::Csv => {
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
                self.record(
                    fixed
                        .into_iter()
                        .flatten()
                        .chain(values.iter().map(String::as_str)),
                )?;
            }
        }
        self.waiting += 1;
        if self.waiting >= self.flush_every {
            self.finish()?;
        }
        Ok(())
    }

    /// Hands over what was not yet.
    pub fn finish(&mut self) -> io::Result<()> {
        self.waiting = 0;
        self.out.flush()
    }

    fn record<'a>(&mut self, fields: impl Iterator<Item = &'a str>) -> io::Result<()> {
        // Fields go through csv's own quoting; the writer has nothing of its own left when it is
        // dropped.
        let mut line = csv::Writer::from_writer(Vec::with_capacity(256));
        line.write_record(fields)?;
        self.out
            .write_all(&line.into_inner().map_err(csv::IntoInnerError::into_error)?)
    }
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

    #[test]
    fn the_ending_says_the_format() {
        for (name, format) in [
            ("a.jsonl", Format::JsonLines),
            ("a.NDJSON", Format::JsonLines),
            ("a.csv", Format::Csv),
        ] {
            assert_eq!(Format::of(Path::new(name)), Ok(format));
        }
        assert_eq!(Format::of(Path::new("/dev/stdout")), Ok(Format::Csv));
        for name in ["z.json", "z.tsv", "z.csv.gz"] {
            assert!(
                Format::of(Path::new(name))
                    .unwrap_err()
                    .contains("neither .csv nor .jsonl"),
                "{name}"
            );
        }
    }
}
