//! A file of predictions that may have been begun before.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{anyhow, bail};
use kiln_util::check_writable;

use super::read::row;
use super::{Columns, Format, Origin, Row, Writer};
use crate::named::Named;

/// Where predictions are written to.
pub type PredictionsFile = Writer<Box<dyn std::io::Write>>;

impl PredictionsFile {
    /// To a file or, for `-`, to standard output, anew; or, to `resume`, behind the whole lines
    /// that are there, each of which `each` hears of. A last line that was cut off is dropped.
    /// Returns how many lines are there already too.
    pub fn open(
        path: &Path,
        origin: &Origin,
        resume: bool,
        each: &mut dyn FnMut(&Row<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<(Self, u64)> {
        let (format, columns) = (
            Format::of(path).map_err(anyhow::Error::msg)?,
            origin.columns.clone(),
        );
        if path == Path::new("-") {
            let out = Box::new(Named::stdout());
            return Ok((Self::new(out, format, columns, true)?, 0));
        }
        check_writable(path)?;
        let fail = |error: std::io::Error| {
            anyhow!("cannot write {}: {error}: check the path", path.display())
        };
        let named = |file: File| Box::new(Named::predictions(path, file));
        let begun = resume && std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0);
        if !begun {
            origin.write(path)?;
            let file = File::create(path).map_err(fail)?;
            return Ok((Self::new(named(file), format, columns, true)?, 0));
        }
        origin.check(path)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(fail)?;
        // Not even the header may be whole.
        let length = whole_lines(&mut file).map_err(fail)?;
        file.set_len(length).map_err(fail)?;
        file.rewind().map_err(fail)?;
        let lines = match format {
            Format::Csv => csv_lines(path, &file, &columns, each)?,
            Format::JsonLines => json_lines(path, &file, &columns, each)?,
        };
        file.seek(SeekFrom::End(0)).map_err(fail)?;
        Ok((Self::new(named(file), format, columns, length == 0)?, lines))
    }
}

/// The length up to the end of the last whole line.
fn whole_lines(file: &mut File) -> std::io::Result<u64> {
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

fn csv_lines(
    path: &Path,
    file: &File,
    columns: &Columns,
    each: &mut dyn FnMut(&Row<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    let mut reader = csv::Reader::from_reader(BufReader::new(file));
    let (mut record, mut lines) = (csv::StringRecord::new(), 0);
    let header = reader.headers()?;
    if !header.is_empty() && header.iter().ne(columns.header()) {
        bail!(
            "cannot resume {}: its header is not that of these predictions: write to another file",
            path.display()
        );
    }
    while reader
        .read_record(&mut record)
        .map_err(|error| anyhow!("cannot resume {}: {error}", path.display()))?
    {
        let line = record.position().map_or(0, csv::Position::line);
        let row = row(&record, columns).ok_or_else(|| damaged(path, line))?;
        each(&row)?;
        lines += 1;
    }
    Ok(lines)
}

fn json_lines(
    path: &Path,
    file: &File,
    columns: &Columns,
    each: &mut dyn FnMut(&Row<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    let mut lines = 0;
    for (line, text) in (1..).zip(BufReader::new(file).lines()) {
        let text = text.map_err(|error| anyhow!("cannot resume {}: {error}", path.display()))?;
        let row: Row<'_> = serde_json::from_str(&text).map_err(|_| damaged(path, line))?;
        if !row.fits(columns) {
            return Err(damaged(path, line));
        }
        each(&row)?;
        lines += 1;
    }
    Ok(lines)
}

fn damaged(path: &Path, line: u64) -> anyhow::Error {
    anyhow!(
        "cannot resume {}: line {line} is not a prediction: remove it and all lines below, or leave out --resume to start over",
        path.display()
    )
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
            output: "logits".into(),
            data: vec!["/d".into()],
            shard: None,
            columns,
        }
    }

    fn write(
        path: &Path,
        resume: bool,
        indices: std::ops::Range<u64>,
    ) -> anyhow::Result<Vec<(u64, String)>> {
        let mut heard = Vec::new();
        let mut each = |row: &Row<'_>| {
            heard.push((
                row.index,
                row.path.as_deref().unwrap_or_default().to_owned(),
            ));
            Ok(())
        };
        let (mut file, lines) = PredictionsFile::open(path, &origin(), resume, &mut each)?;
        assert_eq!(lines, heard.len() as u64);
        for index in indices {
            let (probabilities, logits) = (vec![0.25, 0.75].into(), vec![0.1, 1.2].into());
            let path = Some(format!("{index}.png").into());
            file.write(&Row {
                index,
                path,
                label: None,
                predicted: "b".into(),
                probability: 0.75,
                probabilities,
                logits,
            })?;
        }
        file.finish()?;
        Ok(heard)
    }

    #[test]
    fn a_file_cut_anywhere_is_resumed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["p.csv", "p.jsonl"] {
            let path = folder.path().join(name);
            write(&path, false, 0..5).unwrap();
            let whole = std::fs::read(&path).unwrap();
            for length in 0..=whole.len() {
                std::fs::write(&path, &whole[..length]).unwrap();
                let heard = write(&path, true, 0..0).unwrap();
                let next = heard.len() as u64;
                assert!(
                    heard
                        .into_iter()
                        .eq((0..next).map(|index| (index, format!("{index}.png"))))
                );
                write(&path, true, next..5).unwrap();
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
        write(&path, false, 0..3).unwrap();
        let open = |origin: &Origin| {
            PredictionsFile::open(&path, origin, true, &mut |_| Ok(()))
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
