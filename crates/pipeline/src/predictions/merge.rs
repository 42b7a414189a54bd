//! Predictions of all shards as one file, with the figures of the whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use kiln_util::first_few;
use serde::Serialize;

use super::figures::{Figures, FiguresOptions, FiguresTally};
use super::file::PredictionsFile;
use super::origin::{Finished, Origin};
use super::reader::Reader;
use super::row::Row;
use super::writer::Format;
use crate::context::Context;
use crate::error::predictions::{MergeError, PredictionsError};
use crate::error::{Error, Result};
use crate::inputs::Shard;

/// Most images that a message names.
const NAMED: usize = 8;

/// What to merge.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct MergeRequest {
    /// Files of predictions, one for each shard.
    pub files: Vec<PathBuf>,
    /// The file to write, in whichever format its name says.
    pub output: PathBuf,
    /// Which figures to compute.
    pub figures: FiguresOptions,
}

/// What was merged.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Merged {
    /// Number of files.
    pub shards: u64,
    /// Number of predictions.
    pub images: u64,
    /// Number of images without one, because they could not be read.
    pub skipped: u64,
    /// What the images come from.
    pub data: Vec<String>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// The figures of the whole, where images have labels: those of an evaluation in one go, to the last bit.
    pub figures: Option<Figures>,
}

/// What was merged, as it is written.
#[derive(Debug, Serialize)]
pub struct MergedRecord<'a> {
    shards: u64,
    images: u64,
    skipped: u64,
    data: &'a [String],
    #[serde(flatten)]
    figures: Option<&'a Figures>,
}

impl Merged {
    /// Returns it as it is written.
    pub fn record(&self) -> MergedRecord<'_> {
        MergedRecord {
            shards: self.shards,
            images: self.images,
            skipped: self.skipped,
            data: &self.data,
            figures: self.figures.as_ref(),
        }
    }
}

/// One file, with the row that is next.
struct Part {
    path: PathBuf,
    rows: Reader,
    next: Option<Row<'static>>,
    /// Rows that were read.
    read: u64,
    finished: Finished,
}

impl Part {
    /// Takes the next row, and checks that it comes after the last one.
    fn take(&mut self) -> Result<Option<Row<'static>>> {
        let following = self.rows.next().transpose()?;
        let taken = std::mem::replace(&mut self.next, following);
        if let (Some(taken), Some(next)) = (&taken, &self.next)
            && next.index <= taken.index
        {
            return Err(MergeError::Order {
                path: self.path.clone(),
                index: next.index,
            }
            .into());
        }
        self.read += u64::from(taken.is_some());
        Ok(taken)
    }
}

/// Writes the predictions of all shards into one file, in the order of the images, and computes the figures of the whole.
/// Nothing is written unless all shards are there, each once and whole, and of one model and the same images. Returns
/// nothing if the work was cancelled.
///
/// # Errors
///
/// [`MergeError`] says which shards are missing, double or not finished, or what differs between them.
pub fn merge(request: &MergeRequest, context: &Context<'_>) -> Result<Option<Merged>> {
    Format::of(&request.output)?;
    let origins = origins(&request.files)?;
    let Some((first_path, first)) = origins.first() else {
        return Err(MergeError::Nothing.into());
    };
    for (path, origin) in &origins[1..] {
        let unsharded = |origin: &Origin| Origin {
            shard: None,
            ..origin.clone()
        };
        if let Some(difference) = unsharded(origin).difference(&unsharded(first)) {
            return Err(MergeError::Differs {
                path: path.clone(),
                first: first_path.clone(),
                difference,
            }
            .into());
        }
    }
    check_shards(&origins)?;
    let mut parts = origins
        .iter()
        .map(|(path, origin)| part(path, origin))
        .collect::<Result<Vec<Part>>>()?;
    let scoring = first.scoring.as_ref().filter(|_| first.columns.label);
    let mut tally = scoring
        .map(|scoring| FiguresTally::new(&first.columns.classes, scoring, &request.figures))
        .transpose()?;
    let whole = Origin {
        shard: None,
        finished: None,
        ..first.clone()
    };
    let skipped: u64 = parts.iter().map(|part| part.finished.skipped).sum();
    // Under another name until it is known to be right.
    let partial = partial(&request.output);
    let mut out = PredictionsFile::create(&partial, &whole)?;
    let merged = join(&mut parts, skipped, context, &mut |row| {
        if let Some(tally) = &mut tally {
            tally.row(row)?;
        }
        Ok(out.write(row)?)
    });
    let merged = merged.and_then(|images| out.complete(skipped).map(|()| images));
    drop(out);
    let Ok(Some(images)) = merged else {
        // What is left of it is of no use; an error says more than that it cannot be removed.
        let _ = std::fs::remove_file(&partial);
        let _ = std::fs::remove_file(Origin::path(&partial));
        return merged.map(|_| None);
    };
    for (from, to) in [
        (partial.clone(), request.output.clone()),
        (Origin::path(&partial), Origin::path(&request.output)),
    ] {
        std::fs::rename(&from, &to)
            .map_err(|source| PredictionsError::Open { path: to, source })?;
    }
    Ok(Some(Merged {
        shards: parts.len() as u64,
        images,
        skipped,
        data: first.data.clone(),
        classes: first.columns.classes.clone(),
        figures: tally.map(FiguresTally::finish).transpose()?,
    }))
}

/// The name that the file has until it is whole, with the same ending.
fn partial(output: &Path) -> PathBuf {
    let name = output.file_name().unwrap_or_default();
    let mut hidden = std::ffi::OsString::from(".partial-");
    hidden.push(name);
    output.with_file_name(hidden)
}

/// What is kept beside each file.
fn origins(files: &[PathBuf]) -> Result<Vec<(PathBuf, Origin)>> {
    files
        .iter()
        .map(|path| Ok((path.clone(), Origin::read(path)?)))
        .collect()
}

/// Checks that each shard is there once, and finished.
fn check_shards(origins: &[(PathBuf, Origin)]) -> Result<(), Error> {
    if let [(_, Origin { shard: None, .. })] = origins {
        // The whole already, to be written in another format.
        return Ok(());
    }
    let mut of = None;
    let mut found: BTreeMap<u64, &Path> = BTreeMap::new();
    for (path, origin) in origins {
        let shard = origin
            .shard
            .as_deref()
            .and_then(|text| text.parse::<Shard>().ok());
        let shard = shard.ok_or_else(|| MergeError::Whole { path: path.clone() })?;
        let (number, count) = shard.numbers();
        let (first, expected) = *of.get_or_insert((path, count));
        if expected != count {
            return Err(MergeError::Counts {
                path: path.clone(),
                count,
                first: first.clone(),
                expected,
            }
            .into());
        }
        if let Some(other) = found.insert(number, path) {
            return Err(MergeError::Double {
                shard: shard.to_string(),
                first: other.into(),
                path: path.clone(),
            }
            .into());
        }
    }
    let of = of.map_or(0, |(_, count)| count);
    let missing: Vec<String> = (1..=of)
        .filter(|number| !found.contains_key(number))
        .map(|number| format!("{number}/{of}"))
        .collect();
    if !missing.is_empty() {
        return Err(MergeError::MissingShards {
            shards: first_few(missing.iter(), NAMED),
            count: missing.len(),
        }
        .into());
    }
    Ok(())
}

fn part(path: &Path, origin: &Origin) -> Result<Part> {
    let finished = origin
        .finished
        .ok_or_else(|| MergeError::Unfinished { path: path.into() })?;
    let file = File::open(path).map_err(|source| PredictionsError::Read {
        path: path.into(),
        reason: source.to_string(),
    })?;
    let mut part = Part {
        path: path.into(),
        rows: Reader::new(path, file, Format::of(path)?, &origin.columns)?,
        next: None,
        read: 0,
        finished,
    };
    part.take()?;
    Ok(part)
}

/// Goes through the rows of all files in the order of the images; returns how many there are, or nothing if the work was
/// cancelled.
fn join(
    parts: &mut [Part],
    skipped: u64,
    context: &Context<'_>,
    each: &mut dyn FnMut(&Row<'_>) -> Result<()>,
) -> Result<Option<u64>> {
    let mut images = 0;
    let mut expected = 0;
    let (mut gap, mut examples) = (0, Vec::new());
    loop {
        if context.cancel.is_cancelled() {
            return Ok(None);
        }
        let waiting = parts.iter().enumerate();
        let next = waiting
            .filter_map(|(at, part)| Some((part.next.as_ref()?.index, at)))
            .min();
        let Some((index, at)) = next else {
            break;
        };
        let twice = parts[at + 1..]
            .iter()
            .find(|part| part.next.as_ref().is_some_and(|row| row.index == index));
        if let Some(other) = twice {
            return Err(MergeError::DoubleImage {
                index,
                first: parts[at].path.clone(),
                path: other.path.clone(),
            }
            .into());
        }
        let Some(row) = parts[at].take()? else {
            break;
        };
        gap += index - expected;
        examples.extend((expected..index).take(NAMED - examples.len().min(NAMED)));
        expected = index + 1;
        each(&row)?;
        images += 1;
    }
    for part in &*parts {
        if part.read != part.finished.rows {
            return Err(MergeError::Rows {
                path: part.path.clone(),
                expected: part.finished.rows,
                found: part.read,
            }
            .into());
        }
    }
    if gap > skipped {
        return Err(MergeError::MissingImages {
            count: gap - skipped,
            examples,
        }
        .into());
    }
    Ok(Some(images))
}
