//! A file of predictions that may have been begun before.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use kiln_util::check_writable;

use super::origin::{Finished, Origin};
use super::reader::Reader;
use super::row::{Columns, Row};
use super::writer::{Format, Writer};
use crate::error::Result;
use crate::error::predictions::PredictionsError;

/// A file of predictions.
pub struct PredictionsFile {
    path: PathBuf,
    resumable: bool,
    /// What is kept beside it; none of what cannot be resumed.
    origin: Option<Origin>,
    /// Rows, with those that were there already.
    rows: u64,
    /// Images that had no row where others after them had, when it was resumed.
    pub(super) gap: u64,
    writer: Writer<Box<dyn Write + Send>>,
}

impl PredictionsFile {
    /// Writes to something that is open, which can never be resumed, such as standard output;
    /// `path` is what messages call it.
    pub fn on(
        path: &Path,
        out: impl Write + Send + 'static,
        format: Format,
        columns: Columns,
    ) -> Result<Self> {
        let mut file = Self::begin(path, Box::new(out), format, columns, true)?;
        file.resumable = false;
        Ok(file)
    }

    /// Begins a new file, with its origin beside it.
    pub fn create(path: &Path, origin: &Origin) -> Result<Self> {
        let format = Format::of(path)?;
        check_writable(path)?;
        origin.write(path)?;
        let file = File::create(path).map_err(|source| open(path, source))?;
        let mut begun = Self::begin(path, Box::new(file), format, origin.columns.clone(), true)?;
        begun.resumable = format != Format::Parquet;
        begun.origin = Some(origin.clone());
        Ok(begun)
    }

    /// Resumes a file after the whole lines that are there, each of which `each` hears of; a last
    /// line that was cut off is dropped. What is not there is begun. Returns the number of
    /// lines that are there already too.
    pub fn resume(
        path: &Path,
        origin: &Origin,
        each: &mut dyn FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<(Self, u64)> {
        let format = Format::of(path)?;
        if format == Format::Parquet {
            return Err(PredictionsError::NotResumable { path: path.into() }.into());
        }
        let columns = origin.columns.clone();
        if std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0) {
            check_writable(path)?;
        } else {
            return Ok((Self::create(path, origin)?, 0));
        }
        origin.check(path)?;
        let fail = |source| open(path, source);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(fail)?;
        // Not even the header may be whole.
        let length = whole_lines(&mut file).map_err(fail)?;
        file.set_len(length).map_err(fail)?;
        file.rewind().map_err(fail)?;
        let mut lines = 0;
        let read = file.try_clone().map_err(fail)?;
        for row in Reader::new(path, read, format, &columns)? {
            each(&row?)?;
            lines += 1;
        }
        file.seek(SeekFrom::End(0)).map_err(fail)?;
        let mut resumed = Self::begin(path, Box::new(file), format, columns, length == 0)?;
        resumed.origin = Some(origin.clone());
        resumed.rows = lines;
        Ok((resumed, lines))
    }

    /// Flushes after this many rows.
    #[must_use]
    pub fn flush_every(mut self, rows: u32) -> Self {
        self.writer = self.writer.flush_every(rows);
        self
    }

    /// Writes a row.
    pub fn write(&mut self, row: &Row<'_>) -> Result<(), PredictionsError> {
        self.rows += 1;
        self.writer
            .write(row)
            .map_err(|source| failed(&self.path, self.resumable, source))
    }

    /// Hands over what was not yet.
    pub fn finish(&mut self) -> Result<(), PredictionsError> {
        self.writer
            .finish()
            .map_err(|source| failed(&self.path, self.resumable, source))
    }

    /// Notes beside the file that all images of its source or shard were gone through, `skipped` of which could not be
    /// read and have no row: what is merged must be whole.
    pub fn complete(&mut self, skipped: u64) -> Result<()> {
        self.finish()?;
        let finished = Finished {
            rows: self.rows,
            skipped: skipped + self.gap,
        };
        match &mut self.origin {
            Some(origin) => {
                origin.finished = Some(finished);
                origin.write(&self.path)
            }
            None => Ok(()),
        }
    }

    fn begin(
        path: &Path,
        out: Box<dyn Write + Send>,
        format: Format,
        columns: Columns,
        header: bool,
    ) -> Result<Self> {
        let writer = Writer::new(out, format, columns, header)
            .map_err(|source| failed(path, true, source))?;
        Ok(Self {
            path: path.into(),
            resumable: true,
            origin: None,
            rows: 0,
            gap: 0,
            writer,
        })
    }
}

fn open(path: &Path, source: io::Error) -> PredictionsError {
    let path = path.into();
    PredictionsError::Open { path, source }
}

fn failed(path: &Path, resumable: bool, source: io::Error) -> PredictionsError {
    PredictionsError::Write {
        path: path.into(),
        resumable,
        source,
    }
}

/// Returns the length up to the end of the last whole line.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut block = [0; 4096];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let bytes = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(bytes)?;
        if let Some(at) = bytes.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use kiln_inference::{Channels, Preprocessing};

    use super::*;

    fn origin() -> Origin {
        let columns = Columns {
            path: true,
            label: false,
            classes: vec!["a".into(), "b".into()],
            logits: true,
        };
        Origin {
            model_sha256: "0".into(),
            preprocessing: Preprocessing::unit(28, 28, Channels::Gray),
            layout: "nchw".into(),
            flips: false,
            output: "logits".into(),
            data: vec!["/d".into()],
            shard: None,
            columns,
            scoring: None,
            finished: None,
        }
    }

    fn resume(path: &Path, indices: std::ops::Range<u64>) -> Result<Vec<(u64, String)>> {
        let mut heard = Vec::new();
        let mut each = |row: &Row<'_>| {
            heard.push((
                row.index,
                row.path.as_deref().unwrap_or_default().to_owned(),
            ));
            Ok(())
        };
        let (mut file, lines) = PredictionsFile::resume(path, &origin(), &mut each)?;
        assert_eq!(lines, heard.len() as u64);
        append(&mut file, indices)?;
        Ok(heard)
    }

    fn append(file: &mut PredictionsFile, indices: std::ops::Range<u64>) -> Result<()> {
        for index in indices {
            file.write(&Row {
                index,
                path: Some(format!("{index}.png").into()),
                label: None,
                predicted: "b".into(),
                probability: 0.75,
                probabilities: vec![0.25, 0.75].into(),
                logits: vec![0.1, 1.2].into(),
            })?;
        }
        Ok(file.finish()?)
    }

    fn create(path: &Path, indices: std::ops::Range<u64>) {
        let mut file = PredictionsFile::create(path, &origin()).unwrap();
        append(&mut file, indices).unwrap();
    }

    #[test]
    fn a_file_cut_anywhere_is_resumed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["p.csv", "p.jsonl"] {
            let path = folder.path().join(name);
            create(&path, 0..5);
            let whole = std::fs::read(&path).unwrap();
            for length in 0..=whole.len() {
                std::fs::write(&path, &whole[..length]).unwrap();
                let heard = resume(&path, 0..0).unwrap();
                let next = heard.len() as u64;
                assert!(
                    heard
                        .into_iter()
                        .eq((0..next).map(|index| (index, format!("{index}.png"))))
                );
                resume(&path, next..5).unwrap();
                assert_eq!(
                    std::fs::read(&path).unwrap(),
                    whole,
                    "{name} cut at {length}"
                );
            }
        }
    }

    #[test]
    fn other_origins_and_damaged_lines_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.csv");
        create(&path, 0..3);
        let open = |origin: &Origin| {
            PredictionsFile::resume(&path, origin, &mut |_| Ok(()))
                .err()
                .unwrap()
                .to_string()
        };
        let other = |change: fn(&mut Origin)| {
            let mut origin = origin();
            change(&mut origin);
            open(&origin)
        };
        assert!(
            other(|origin| origin.model_sha256 = "1".into())
                .contains("another model (SHA-256 0, this one is 1)")
        );
        assert!(
            other(|origin| origin.shard = Some("1/2".into()))
                .contains("it holds all images, asked for is shard 1/2")
        );
        assert!(
            other(|origin| origin.data = vec!["/e".into()])
                .contains("images of `/d`, asked for are those of `/e`")
        );
        assert!(
            other(|origin| origin.preprocessing = Preprocessing::raw(28, 28, Channels::Gray))
                .contains("the preprocessing {\"height\":28")
        );
        assert!(
            other(|origin| origin.layout = "nhwc".into())
                .contains("the layout nchw, this one is nhwc")
        );
        assert!(
            other(|origin| origin.output = "probabilities".into())
                .contains("the output logits, this one is prob")
        );
        assert!(
            other(|origin| origin.columns.label = true)
                .contains("it has the columns index,path,predicted")
        );
        assert!(
            other(|origin| origin.columns.classes[1] = "c".into())
                .contains("class 1 is `b`, that of this model `c`")
        );
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("\n1,", "\nx,")).unwrap();
        assert!(open(&origin()).contains("line 3 is not a prediction"));
        std::fs::remove_file(Origin::path(&path)).unwrap();
        assert!(open(&origin()).contains("p.csv.origin.json"));
    }
}
