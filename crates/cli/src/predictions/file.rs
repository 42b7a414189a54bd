//! A file of predictions that may have been begun before.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{anyhow, bail};
use kiln_run::check_writable;

use super::read::row;
use super::{Columns, Format, Origin, Row, Writer};

/// Lines that stand in a file already.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    /// How many.
    pub lines: u64,
    /// The last one's image: its place and its path.
    pub last: Option<(u64, Option<String>)>,
}

/// Where predictions are written to.
pub type PredictionsFile = Writer<Box<dyn std::io::Write>>;

impl PredictionsFile {
    /// To a file or, for `-`, to standard output, anew; or, to `resume`, behind the whole lines that are there, each of which
    /// `each` hears of. A last line that was cut off is dropped.
    pub fn open(
        path: &Path,
        origin: &Origin,
        resume: bool,
        each: &mut dyn FnMut(&Row<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<(Self, Kept)> {
        let (format, columns) = (Format::of(path), origin.columns.clone());
        if path == Path::new("-") {
            return Ok((Self::new(Box::new(std::io::stdout()), format, columns, true)?, Kept::default()));
        }
        check_writable(path)?;
        let fail = |error: std::io::Error| anyhow!("cannot write {}: {error}: check the path", path.display());
        let begun = resume && std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0);
        if !begun {
            origin.write(path)?;
            return Ok((
                Self::new(Box::new(File::create(path).map_err(fail)?), format, columns, true)?,
                Kept::default(),
            ));
        }
        origin.check(path)?;
        let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(fail)?;
        // Not even the header may be whole.
        let length = whole_lines(&mut file).map_err(fail)?;
        file.set_len(length).map_err(fail)?;
        file.rewind().map_err(fail)?;
        let kept = match format {
            Format::Csv => csv_lines(path, &file, &columns, each)?,
            Format::JsonLines => json_lines(path, &file, &columns, each)?,
        };
        file.seek(SeekFrom::End(0)).map_err(fail)?;
        Ok((Self::new(Box::new(file), format, columns, length == 0)?, kept))
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

impl Kept {
    fn count(&mut self, row: &Row<'_>) {
        self.lines += 1;
        self.last = Some((row.index, row.path.as_deref().map(str::to_owned)));
    }
}

fn csv_lines(
    path: &Path,
    file: &File,
    columns: &Columns,
    each: &mut dyn FnMut(&Row<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<Kept> {
    let mut reader = csv::Reader::from_reader(BufReader::new(file));
    let (mut record, mut kept) = (csv::StringRecord::new(), Kept::default());
    let header = reader.headers()?;
    if !header.is_empty() && header.iter().ne(columns.header()) {
        bail!("cannot resume {}: its header is not that of these predictions: write to another file", path.display());
    }
    while reader.read_record(&mut record).map_err(|error| anyhow!("cannot resume {}: {error}", path.display()))? {
        let line = record.position().map_or(0, csv::Position::line);
        let row = row(&record, columns).ok_or_else(|| damaged(path, line))?;
        each(&row)?;
        kept.count(&row);
    }
    Ok(kept)
}

fn json_lines(
    path: &Path,
    file: &File,
    columns: &Columns,
    each: &mut dyn FnMut(&Row<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<Kept> {
    let mut kept = Kept::default();
    for (line, text) in (1..).zip(BufReader::new(file).lines()) {
        let text = text.map_err(|error| anyhow!("cannot resume {}: {error}", path.display()))?;
        let row: Row<'_> = serde_json::from_str(&text).map_err(|_| damaged(path, line))?;
        if row.probabilities.len() != columns.classes.len() {
            return Err(damaged(path, line));
        }
        each(&row)?;
        kept.count(&row);
    }
    Ok(kept)
}

fn damaged(path: &Path, line: u64) -> anyhow::Error {
    anyhow!(
        "cannot resume {}: line {line} is no prediction: remove it and all lines below, or leave out --resume to begin anew",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        let columns = Columns { path: true, label: false, classes: vec!["a".into(), "b".into()] };
        Origin { model_sha256: "0".into(), data: "d".into(), shard: None, columns }
    }

    fn write(path: &Path, resume: bool, indices: std::ops::Range<u64>) -> anyhow::Result<(Kept, Vec<u64>)> {
        let mut heard = Vec::new();
        let mut each = |row: &Row<'_>| {
            heard.push(row.index);
            Ok(())
        };
        let (mut file, kept) = PredictionsFile::open(path, &origin(), resume, &mut each)?;
        for index in indices {
            let probabilities = vec![0.25, 0.75].into();
            let path = Some(format!("{index}.png").into());
            file.write(&Row { index, path, label: None, predicted: "b".into(), probability: 0.75, probabilities })?;
        }
        file.finish()?;
        Ok((kept, heard))
    }

    #[test]
    fn a_file_cut_anywhere_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["p.csv", "p.jsonl"] {
            let path = folder.path().join(name);
            write(&path, false, 0..5).unwrap();
            let whole = std::fs::read(&path).unwrap();
            for length in 0..=whole.len() {
                std::fs::write(&path, &whole[..length]).unwrap();
                let (kept, heard) = write(&path, true, 0..0).unwrap();
                let next = kept.last.as_ref().map_or(0, |(index, _)| index + 1);
                assert_eq!((kept.lines, heard), (next, (0..next).collect()));
                assert!(kept.last.is_none_or(|(index, path)| path.unwrap() == format!("{index}.png")));
                write(&path, true, next..5).unwrap();
                assert_eq!(std::fs::read(&path).unwrap(), whole, "{name} cut at {length}");
            }
        }
    }

    #[test]
    fn other_origins_and_damaged_lines_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.csv");
        write(&path, false, 0..3).unwrap();
        let open =
            |origin: &Origin| PredictionsFile::open(&path, origin, true, &mut |_| Ok(())).err().unwrap().to_string();
        let other = |change: fn(&mut Origin)| {
            let mut origin = origin();
            change(&mut origin);
            open(&origin)
        };
        assert!(other(|origin| origin.model_sha256 = "1".into()).contains("another model (SHA-256 0, this one is 1)"));
        assert!(
            other(|origin| origin.shard = Some("1/2".into())).contains("it holds all images, asked for is shard 1/2")
        );
        assert!(other(|origin| origin.columns.label = true).contains("it has the columns index,path,predicted"));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("\n1,", "\nx,")).unwrap();
        assert!(open(&origin()).contains("line 3 is no prediction"));
        std::fs::remove_file(Origin::path(&path)).unwrap();
        assert!(open(&origin()).contains("p.csv.origin.json"));
    }
}
