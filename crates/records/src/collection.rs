//! The images of several files one after another, or a share of them.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::ahead::{Ahead, Planned};
use crate::error::{Problem, RecordsError};
use crate::found::{Format, RecordFiles, is_tar_name};
use crate::parquet::{ParquetFile, Rows};
use crate::record::{Content, Record};
use crate::source::{ReadAt, Source};
use crate::tar::Samples;

/// A share of the images: that of process `number`, from 0, of `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// From 0.
    pub number: u64,
    /// At least 1.
    pub of: u64,
}

impl Share {
    const fn has(self, index: u64) -> bool {
        index % self.of == self.number
    }
}

/// Files that are far away are opened so many at a time: each one waits for an answer.
const OPENED_AT_ONCE: usize = 16;

/// Does something with each of several files, at once where they are far away; the results are in order.
fn at_once<T: Sync, R: Send>(
    items: &[T],
    are_remote: bool,
    act: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    if !are_remote || items.len() < 2 {
        return items.iter().map(act).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut results = Vec::new();
        while let Some((at, item)) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            items.get(at).map(|item| (at, item))
        } {
            results.push((at, act(item)));
        }
        results
    };
    let mut results: Vec<(usize, R)> = thread::scope(|scope| {
        let threads: Vec<_> = (1..OPENED_AT_ONCE.min(items.len()))
            .map(|_| scope.spawn(work))
            .collect();
        let mut results = work();
        for thread in threads {
            match thread.join() {
                Ok(of_thread) => results.extend(of_thread),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    });
    results.sort_unstable_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Parquet or tar files whose indices were read.
#[derive(Debug, Clone)]
pub struct Collection {
    parts: Arc<Vec<Part>>,
}

#[derive(Debug)]
enum Part {
    Parquet(ParquetFile),
    Tar(Source),
}

/// A file that is opened for each read: of thousands, a process may not have all open.
struct Closed(PathBuf);

impl ReadAt for Closed {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::fs::File::open(&self.0)?.read_at(buffer, offset)
    }
}

impl Collection {
    /// Reads the indices of Parquet files; of tar files, which have none, nothing.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or has no images, if the classes of two differ, or if the files are of a format
    /// that is read whole ([`Format::Cifar`], [`Format::Idx`]).
    pub fn open(files: &RecordFiles) -> Result<Self, RecordsError> {
        let source = |path: &PathBuf| -> Result<Source, RecordsError> {
            if let Some(object) = files.object(path) {
                return Ok(Source::remote(path, object?));
            }
            let length = Source::open(path)?.length();
            Ok(Source::new(path, length, Arc::new(Closed(path.clone()))))
        };
        match files.format {
            Format::Parquet | Format::Tar => {
                let sources = at_once(&files.files, files.is_remote(), source);
                Self::of_sources(sources.into_iter().collect::<Result<_, _>>()?)
            }
            Format::Cifar | Format::Idx => {
                let name = files.format.name();
                Err(Problem::Unsupported(format!("reading {name} image by image")).of(&files.name))
            }
        }
    }

    /// Takes files of which it is known how to read them: tar files by their ending, else Parquet.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn of_sources(sources: Vec<Source>) -> Result<Self, RecordsError> {
        let is_tar = |source: &Source| is_tar_name(source.path());
        if sources.iter().all(is_tar) {
            return Ok(Self {
                parts: Arc::new(sources.into_iter().map(Part::Tar).collect()),
            });
        }
        let is_remote = sources.iter().any(Source::is_remote);
        let files = at_once(&sources, is_remote, ParquetFile::open);
        let files = files.into_iter().collect::<Result<Vec<_>, _>>()?;
        if let Some((first, rest)) = files.split_first() {
            for file in rest {
                if file.classes() != first.classes() || file.has_labels() != first.has_labels() {
                    let classes = |file: &ParquetFile| file.classes().unwrap_or_default().to_vec();
                    return Err(Problem::Classes {
                        first: first.source().path().to_owned(),
                        expected: classes(first),
                        found: classes(file),
                    }
                    .of(file.source().path()));
                }
            }
        }
        Ok(Self {
            parts: Arc::new(files.into_iter().map(Part::Parquet).collect()),
        })
    }

    /// Returns the number of images, where the files say so.
    pub fn count(&self) -> Option<u64> {
        self.groups().map(|groups| groups.iter().sum())
    }

    /// Returns the number of images of a share, where the files say so.
    pub fn count_of(&self, share: Share) -> Option<u64> {
        let groups = self.groups()?;
        if groups.len() as u64 >= share.of {
            let groups = (0..).zip(&groups).filter(|(at, _)| share.has(*at));
            return Some(groups.map(|(_, rows)| rows).sum());
        }
        let all: u64 = groups.iter().sum();
        Some((all + share.of - 1 - share.number) / share.of)
    }

    /// The rows of each row group of all files; none where a file has no index.
    fn groups(&self) -> Option<Vec<u64>> {
        let mut groups = Vec::new();
        for part in &*self.parts {
            match part {
                Part::Parquet(file) => groups.extend(file.groups()),
                Part::Tar(_) => return None,
            }
        }
        Some(groups)
    }

    /// Returns the names of the classes, which labels have, where the files give them.
    pub fn classes(&self) -> Option<&[String]> {
        match self.parts.first()? {
            Part::Parquet(file) => file.classes(),
            Part::Tar(_) => None,
        }
    }

    /// Returns whether images have labels: of tar files, whether the first one has.
    ///
    /// # Errors
    ///
    /// If the first tar file cannot be read.
    pub fn has_labels(&self) -> Result<bool, RecordsError> {
        match self.parts.first() {
            Some(Part::Parquet(file)) => Ok(file.has_labels()),
            Some(Part::Tar(source)) => match Samples::new(source.clone(), false).next_record() {
                Some(Ok(record)) => Ok(record.label.is_some()),
                Some(Err(problem)) => Err(problem.of(source.path())),
                None => Ok(false),
            },
            None => Ok(false),
        }
    }

    /// Checks that images have labels.
    ///
    /// # Errors
    ///
    /// [`Problem::NoLabels`] if there is no column of labels, or the first sample of a tar file has none.
    pub fn check_labels(&self) -> Result<(), RecordsError> {
        if self.has_labels()? {
            return Ok(());
        }
        let Some(first) = self.parts.first() else {
            return Ok(());
        };
        Err(match first {
            Part::Parquet(file) => Problem::NoLabels {
                expected: "a column `label`",
                found: file.columns(),
            }
            .of(file.source().path()),
            Part::Tar(source) => Problem::NoLabels {
                expected: "a file `.cls` beside each image, or `.json` with the key `label`",
                found: Samples::new(source.clone(), false)
                    .next_record()
                    .and_then(Result::ok)
                    .map(|record| vec![record.name])
                    .unwrap_or_default(),
            }
            .of(source.path()),
        })
    }

    /// Returns whether two are clones of one another.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.parts, &other.parts)
    }

    /// Reads one image by its place: its row group up to it, or its tar file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or there is none.
    pub fn record(&self, index: u64) -> Result<Record, RecordsError> {
        let mut records = self.records(None, true);
        records.is_single = true;
        // Row groups before it are gone past without being read.
        loop {
            let mut after = records.cursor;
            match after.next(&self.parts, records.wanted) {
                Some((Step::Group { rows, .. }, _)) if records.index + rows <= index => {
                    records.cursor = after;
                    records.index += rows;
                }
                Some(_) | None => break,
            }
        }
        for record in records {
            let (at, record) = record?;
            if at == index {
                return Ok(record);
            }
        }
        let first = self.parts.first();
        let path = first.map_or(Path::new(""), |part| part.source().path());
        Err(Problem::Empty.of(path))
    }

    /// Goes through the images, or a share of them: of Parquet files whole row groups, in turn, as long as each process
    /// has one; else every image in turn. `with_images` false reads labels alone.
    pub fn records(&self, share: Option<Share>, with_images: bool) -> Records {
        let share = share.unwrap_or(Share { number: 0, of: 1 });
        let groups = self.groups().map_or(0, |groups| groups.len() as u64);
        Records {
            collection: self.clone(),
            wanted: Wanted {
                share,
                by_group: groups >= share.of,
                with_images,
            },
            cursor: Cursor::default(),
            index: 0,
            open: None,
            ahead: None,
            is_single: false,
        }
    }

    fn is_remote(&self) -> bool {
        self.parts.iter().any(|part| part.source().is_remote())
    }
}

impl Part {
    const fn source(&self) -> &Source {
        match self {
            Self::Parquet(file) => file.source(),
            Self::Tar(source) => source,
        }
    }
}

/// Which images are read, and what of them.
#[derive(Clone, Copy)]
struct Wanted {
    share: Share,
    /// Whether row groups are shared rather than images.
    by_group: bool,
    with_images: bool,
}

/// The file, row group and row that are next.
#[derive(Clone, Copy, Default)]
struct Cursor {
    part: usize,
    /// Among those of all files.
    group: u64,
    group_in_part: usize,
    row_in_part: u64,
}

/// What is read as one, with the number of its file.
enum Step {
    /// A tar file.
    Tar { part: usize },
    /// A row group: its number in the file, the number of its first row there, and how many it has.
    Group {
        part: usize,
        group: usize,
        first: u64,
        rows: u64,
    },
}

impl Cursor {
    /// Goes past the next tar file or row group that is wanted, and returns it, with the number of rows of the row groups
    /// before it that are not.
    fn next(&mut self, parts: &[Part], wanted: Wanted) -> Option<(Step, u64)> {
        let mut passed = 0;
        loop {
            let part = self.part;
            let rows = match parts.get(part)? {
                Part::Tar(_) => {
                    self.part += 1;
                    return Some((Step::Tar { part }, passed));
                }
                Part::Parquet(file) => file.rows_of(self.group_in_part),
            };
            let Some(rows) = rows else {
                self.part += 1;
                self.group_in_part = 0;
                self.row_in_part = 0;
                continue;
            };
            let is_wanted = !wanted.by_group || wanted.share.has(self.group);
            let step = Step::Group {
                part,
                group: self.group_in_part,
                first: self.row_in_part,
                rows,
            };
            self.group += 1;
            self.group_in_part += 1;
            self.row_in_part += rows;
            if is_wanted {
                return Some((step, passed));
            }
            passed += rows;
        }
    }
}

/// What will be read, in order: of Parquet files the columns of the row groups of a share, of tar files everything.
struct Plan {
    collection: Collection,
    wanted: Wanted,
    cursor: Cursor,
    /// Row groups that are left; none for all.
    left: Option<usize>,
    /// What is next, in the order of places in the file.
    next: VecDeque<Planned>,
}

impl Iterator for Plan {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        loop {
            if let Some(planned) = self.next.pop_front() {
                return Some(planned);
            }
            let parts = &self.collection.parts;
            let (step, _) = self.cursor.next(parts, self.wanted)?;
            let (Step::Tar { part } | Step::Group { part, .. }) = step;
            let source = parts[part].source();
            if !source.is_remote() {
                continue;
            }
            match (step, &parts[part]) {
                (Step::Group { group, .. }, Part::Parquet(file)) => {
                    if let Some(left) = &mut self.left {
                        *left = left.checked_sub(1)?;
                    }
                    let mut ranges = file.ranges(group, self.wanted.with_images);
                    ranges.sort_unstable_by_key(|(_, range)| range.start);
                    let planned = ranges.into_iter().map(|(column, range)| Planned {
                        stream: (part, group, column),
                        source: source.clone(),
                        range,
                    });
                    self.next.extend(planned);
                }
                _ => {
                    return Some(Planned {
                        stream: (part, 0, 0),
                        source: source.clone(),
                        range: 0..source.length(),
                    });
                }
            }
        }
    }
}

/// Images one after another, each with its place among all of them, from 0. It ends after an error.
pub struct Records {
    collection: Collection,
    wanted: Wanted,
    cursor: Cursor,
    /// Place of the next image.
    index: u64,
    /// What is read, and the number of its file.
    open: Option<(usize, Open)>,
    /// What is read ahead of files that are far away.
    ahead: Option<Ahead>,
    /// Whether one image is wanted, so that nothing after its row group is.
    is_single: bool,
}

enum Open {
    Rows(Box<Rows>),
    Samples(Box<Samples>),
}

impl Records {
    /// Opens the next row group of the share, or the next tar file; false after the last.
    fn advance(&mut self) -> Result<bool, RecordsError> {
        self.open = None;
        if self.ahead.is_none() && self.collection.is_remote() {
            self.ahead = Some(Ahead::start(Plan {
                collection: self.collection.clone(),
                wanted: self.wanted,
                cursor: self.cursor,
                left: self.is_single.then_some(1),
                next: VecDeque::new(),
            }));
        }
        let parts = &self.collection.parts;
        let Some((step, passed)) = self.cursor.next(parts, self.wanted) else {
            return Ok(false);
        };
        self.index += passed;
        let through = |stream, source: &Source| match &self.ahead {
            Some(ahead) if source.is_remote() => ahead.stream(stream, source),
            Some(_) | None => source.clone(),
        };
        let (Step::Tar { part } | Step::Group { part, .. }) = step;
        let open = match (step, &parts[part]) {
            (Step::Group { group, first, .. }, Part::Parquet(file)) => {
                let source = |column| through((part, group, column), file.source());
                let opened = file.rows(group, first, self.wanted.with_images, source);
                Open::Rows(Box::new(
                    opened.map_err(|problem| problem.of(file.source().path()))?,
                ))
            }
            (_, part_of_tar) => {
                let source = through((part, 0, 0), part_of_tar.source());
                Open::Samples(Box::new(Samples::new(source, self.wanted.with_images)))
            }
        };
        self.open = Some((part, open));
        Ok(true)
    }

    /// Returns the next image of what is open, and the path of its file.
    fn take(&mut self) -> Option<Result<(&Path, Record), RecordsError>> {
        let (part, open) = self.open.as_mut()?;
        let part = &self.collection.parts[*part];
        let record = match (open, part) {
            (Open::Rows(rows), Part::Parquet(file)) => rows.next(file)?,
            (Open::Samples(samples), Part::Tar(_)) => samples.next_record()?,
            (Open::Rows(_), Part::Tar(_)) | (Open::Samples(_), Part::Parquet(_)) => return None,
        };
        let path = part.source().path();
        Some(match record {
            Ok(record) => Ok((path, record)),
            Err(problem) => Err(problem.of(path)),
        })
    }
}

impl Iterator for Records {
    type Item = Result<(u64, Record), RecordsError>;

    /// Returns the next image, called by the path of its file, `#`, and what it is called there.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (by_image, share) = (!self.wanted.by_group, self.wanted.share);
            let taken = self.take().map(|taken| {
                taken.map(|(path, mut record)| {
                    record.name = format!("{}#{}", path.display(), record.name);
                    record
                })
            });
            match taken {
                Some(Ok(record)) => {
                    let index = self.index;
                    self.index += 1;
                    if !by_image || share.has(index) {
                        return Some(self.fetched(record).map(|record| (index, record)));
                    }
                }
                Some(Err(error)) => {
                    self.end();
                    return Some(Err(error));
                }
                None => match self.advance() {
                    Ok(true) => (),
                    Ok(false) => return None,
                    Err(error) => {
                        self.end();
                        return Some(Err(error));
                    }
                },
            }
        }
    }
}

impl Records {
    /// Reads the image of a tar file that is far away now, while it is read ahead.
    fn fetched(&mut self, mut record: Record) -> Result<Record, RecordsError> {
        let Content::Span(span) = &record.image else {
            return Ok(record);
        };
        if !span.is_remote() {
            return Ok(record);
        }
        if !self.wanted.with_images {
            record.image = Content::Unread;
            return Ok(record);
        }
        match span.read() {
            Ok(bytes) => {
                record.image = Content::Bytes(bytes.into());
                Ok(record)
            }
            Err(error) => {
                let error = Problem::from(error).of(span.path());
                self.end();
                Err(error)
            }
        }
    }

    fn end(&mut self) {
        self.open = None;
        self.cursor.part = self.collection.parts.len();
    }
}
