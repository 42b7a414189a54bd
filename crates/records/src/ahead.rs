//! Reading ahead of files that are far away: several requests at a time, each for a large part, in the order in which
//! the parts will be needed, within a fixed amount of memory.
//!
//! A plan of ranges, each of a stream that is read from its beginning on, is cut into blocks. Threads fetch the blocks
//! in order as long as there is room; who reads a stream takes its bytes out of the blocks, and fetches one itself that no
//! thread has begun with. A block is given up once what follows it is read.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::error::Problem;
use crate::source::{ReadAt, Source};

/// Most bytes that a request is for.
const BLOCK: u64 = 8 << 20;

/// Ranges with no more bytes in between are asked for together.
const GAP: u64 = 16 << 10;

/// Most bytes that are being fetched, or wait to be read.
const WINDOW: u64 = 64 << 20;

/// Requests at a time.
const REQUESTS: usize = 8;

/// Which stream: the numbers of a file, a row group in it, and a column of that.
pub(crate) type StreamId = (usize, usize, usize);

/// A range of bytes that will be read.
pub(crate) struct Planned {
    pub stream: StreamId,
    pub source: Source,
    pub range: Range<u64>,
}

/// The sizes, which tests have smaller.
#[derive(Debug, Clone, Copy)]
struct Limits {
    block: u64,
    gap: u64,
    window: u64,
    requests: usize,
}

/// What is read ahead; it ends when this is dropped.
pub(crate) struct Ahead(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    limits: Limits,
}

struct State {
    plan: Box<dyn Iterator<Item = Planned> + Send>,
    /// What is left of the plan's last range.
    rest: Option<Planned>,
    /// Blocks that are not given up, and perhaps some that are.
    blocks: VecDeque<Block>,
    /// The number of the first of them.
    first: usize,
    /// The number of the next block that a thread fetches.
    next: usize,
    /// Pieces of blocks that each stream has, in order.
    streams: HashMap<StreamId, VecDeque<Piece>>,
    /// Streams that ended before the plan came to them.
    ended: HashSet<StreamId>,
    /// Bytes that are being fetched or wait.
    held: u64,
    is_closed: bool,
}

struct Block {
    source: Source,
    range: Range<u64>,
    /// Pieces of it that are not given up.
    users: usize,
    content: Content,
}

enum Content {
    Planned,
    Fetching,
    Ready(Arc<Vec<u8>>),
    Failed(Problem),
    /// Given up.
    Gone,
}

struct Piece {
    range: Range<u64>,
    block: usize,
}

/// What to do for the next byte of a stream.
enum Step {
    Copy(Arc<Vec<u8>>, usize),
    Fetch(usize),
    Wait,
    Failed(Problem),
    /// It is not in the plan.
    Unplanned,
}

/// How one stream is read.
struct Stream {
    shared: Arc<Shared>,
    id: StreamId,
    source: Source,
}

impl Ahead {
    /// Begins to read what is planned.
    pub fn start(plan: impl Iterator<Item = Planned> + Send + 'static) -> Self {
        Self::limited(
            plan,
            Limits {
                block: BLOCK,
                gap: GAP,
                window: WINDOW,
                requests: REQUESTS,
            },
        )
    }

    fn limited(plan: impl Iterator<Item = Planned> + Send + 'static, limits: Limits) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                plan: Box::new(plan),
                rest: None,
                blocks: VecDeque::new(),
                first: 0,
                next: 0,
                streams: HashMap::new(),
                ended: HashSet::new(),
                held: 0,
                is_closed: false,
            }),
            changed: Condvar::new(),
            limits,
        });
        for _ in 0..limits.requests {
            let shared = Arc::clone(&shared);
            // Without a thread, who reads fetches by itself.
            let _ = thread::Builder::new()
                .name("read-ahead".into())
                .spawn(move || shared.work());
        }
        Self(shared)
    }

    /// Returns the source through which a stream of this file is read.
    pub fn stream(&self, id: StreamId, source: &Source) -> Source {
        source.through(Arc::new(Stream {
            shared: Arc::clone(&self.0),
            id,
            source: source.clone(),
        }))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches block after block, as long as there is room for them.
    fn work(&self) {
        let mut state = self.lock();
        while !state.is_closed {
            match state.next_block(self.limits) {
                Some(number) if state.has_room(number, self.limits.window) => {
                    state = self.fetch(state, number);
                }
                Some(_) => state = self.wait(state),
                None => return,
            }
        }
    }

    /// Fetches a block that was planned.
    fn fetch<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        number: usize,
    ) -> MutexGuard<'a, State> {
        let at = number - state.first;
        let block = &mut state.blocks[at];
        block.content = Content::Fetching;
        let (source, range) = (block.source.clone(), block.range.clone());
        let length = range.end - range.start;
        state.held += length;
        drop(state);
        let read = source.read(range.start, length);
        let mut state = self.lock();
        // It stands where it did: blocks are removed from the front once they are gone.
        let at = number - state.first;
        let block = &mut state.blocks[at];
        let is_wanted = block.users > 0;
        let is_held = is_wanted && read.is_ok();
        block.content = match read {
            _ if !is_wanted => Content::Gone,
            Ok(bytes) => Content::Ready(Arc::new(bytes)),
            Err(problem) => Content::Failed(problem),
        };
        if !is_held {
            state.held -= length;
        }
        state.trim();
        self.changed.notify_all();
        state
    }
}

impl State {
    /// Returns the first block that nobody has begun with; none once the plan is done.
    fn next_block(&mut self, limits: Limits) -> Option<usize> {
        self.next = self.next.max(self.first);
        loop {
            match self.blocks.get(self.next - self.first) {
                Some(block) if matches!(block.content, Content::Planned) => return Some(self.next),
                Some(_) => self.next += 1,
                None => {
                    if !self.plan_block(limits) {
                        return None;
                    }
                }
            }
        }
    }

    fn has_room(&self, number: usize, window: u64) -> bool {
        let range = &self.blocks[number - self.first].range;
        self.held == 0 || self.held + (range.end - range.start) <= window
    }

    /// Cuts the next block off the plan; false after the last.
    fn plan_block(&mut self, limits: Limits) -> bool {
        let planned = loop {
            match self.rest.take().or_else(|| self.plan.next()) {
                Some(planned) if self.is_unwanted(&planned) => (),
                Some(planned) => break planned,
                None => return false,
            }
        };
        let number = self.first + self.blocks.len();
        let mut range =
            planned.range.start..planned.range.end.min(planned.range.start + limits.block);
        let mut users = 1;
        self.piece(planned.stream, range.clone(), number);
        if range.end < planned.range.end {
            self.rest = Some(Planned {
                stream: planned.stream,
                source: planned.source.clone(),
                range: range.end..planned.range.end,
            });
        } else {
            // What lies close behind it comes with it.
            while let Some(following) = self.plan.next() {
                if self.is_unwanted(&following) {
                    continue;
                }
                let is_near = following.stream.0 == planned.stream.0
                    && following.range.start >= range.end
                    && following.range.start - range.end <= limits.gap
                    && following.range.end - range.start <= limits.block;
                if !is_near {
                    self.rest = Some(following);
                    break;
                }
                range.end = range.end.max(following.range.end);
                users += 1;
                self.piece(following.stream, following.range, number);
            }
        }
        self.blocks.push_back(Block {
            source: planned.source,
            range,
            users,
            content: Content::Planned,
        });
        true
    }

    fn is_unwanted(&mut self, planned: &Planned) -> bool {
        planned.range.is_empty() || self.ended.remove(&planned.stream)
    }

    fn piece(&mut self, stream: StreamId, range: Range<u64>, block: usize) {
        self.streams
            .entry(stream)
            .or_default()
            .push_back(Piece { range, block });
    }

    /// Gives up the pieces of a stream that lie before what is read; one is kept, for what is looked at again.
    fn pass(&mut self, stream: StreamId, offset: u64) -> bool {
        let mut passed = Vec::new();
        if let Some(pieces) = self.streams.get_mut(&stream) {
            while pieces
                .get(1)
                .is_some_and(|second| second.range.end <= offset)
            {
                passed.extend(pieces.pop_front());
            }
        }
        for piece in &passed {
            self.release(piece.block);
        }
        self.trim();
        !passed.is_empty()
    }

    fn release(&mut self, number: usize) {
        let Some(at) = number.checked_sub(self.first) else {
            return;
        };
        let Some(block) = self.blocks.get_mut(at) else {
            return;
        };
        block.users -= 1;
        if block.users > 0 {
            return;
        }
        let length = block.range.end - block.range.start;
        match block.content {
            Content::Ready(_) => {
                block.content = Content::Gone;
                self.held -= length;
            }
            Content::Planned | Content::Failed(_) => block.content = Content::Gone,
            // Who fetches it sees that nobody wants it.
            Content::Fetching | Content::Gone => (),
        }
    }

    fn trim(&mut self) {
        while let Some(Block {
            content: Content::Gone,
            ..
        }) = self.blocks.front()
        {
            self.blocks.pop_front();
            self.first += 1;
        }
    }

    /// Finds the byte of a stream.
    fn step(&mut self, stream: StreamId, offset: u64, limits: Limits) -> Step {
        let found = loop {
            let pieces = self.streams.get(&stream).into_iter().flatten();
            let mut at = pieces.filter(|piece| piece.range.contains(&offset));
            if let Some(piece) = at.next() {
                break piece.block;
            }
            if !self.plan_block(limits) {
                return Step::Unplanned;
            }
        };
        let block = &self.blocks[found - self.first];
        match &block.content {
            Content::Planned => Step::Fetch(found),
            Content::Fetching => Step::Wait,
            Content::Ready(bytes) => {
                Step::Copy(Arc::clone(bytes), (offset - block.range.start) as usize)
            }
            Content::Failed(problem) => Step::Failed(again(problem)),
            Content::Gone => Step::Unplanned,
        }
    }
}

/// A problem for another reader.
fn again(problem: &Problem) -> Problem {
    match problem {
        Problem::Store(error) => Problem::Store(error.clone()),
        other => Problem::Read(io::Error::other(other.to_string())),
    }
}

fn io_error(problem: Problem) -> io::Error {
    match problem {
        Problem::Store(error) => error.into(),
        Problem::Read(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

impl ReadAt for Stream {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let shared = &self.shared;
        let mut state = shared.lock();
        if state.pass(self.id, offset) {
            shared.changed.notify_all();
        }
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            match state.step(self.id, at, shared.limits) {
                Step::Copy(bytes, from) => {
                    drop(state);
                    let count = (bytes.len() - from).min(buffer.len() - done);
                    buffer[done..][..count].copy_from_slice(&bytes[from..][..count]);
                    done += count;
                    state = shared.lock();
                }
                Step::Fetch(number) => state = shared.fetch(state, number),
                Step::Wait => state = shared.wait(state),
                Step::Failed(problem) => return Err(io_error(problem)),
                Step::Unplanned => {
                    drop(state);
                    let rest = &mut buffer[done..];
                    let bytes = self.source.read(at, rest.len() as u64).map_err(io_error)?;
                    rest.copy_from_slice(&bytes);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn is_remote(&self) -> bool {
        true
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        match state.streams.remove(&self.id) {
            Some(pieces) => {
                for piece in pieces {
                    state.release(piece.block);
                }
                if state
                    .rest
                    .as_ref()
                    .is_some_and(|rest| rest.stream == self.id)
                {
                    state.rest = None;
                }
            }
            None => {
                state.ended.insert(self.id);
            }
        }
        state.trim();
        drop(state);
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    const LIMITS: Limits = Limits {
        block: 100,
        gap: 10,
        window: 300,
        requests: 4,
    };

    /// A file whose bytes are their places, which counts what is read.
    #[derive(Default)]
    struct Counted {
        requests: AtomicU64,
        bytes: AtomicU64,
        /// Where reading fails.
        broken: Option<Range<u64>>,
    }

    impl ReadAt for Counted {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            self.requests.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(buffer.len() as u64, Ordering::Relaxed);
            thread::sleep(Duration::from_micros(offset % 7 * 100));
            let end = offset + buffer.len() as u64;
            if self
                .broken
                .as_ref()
                .is_some_and(|broken| broken.start < end && offset < broken.end)
            {
                return Err(io::Error::other("broken"));
            }
            for (at, byte) in (offset..).zip(buffer) {
                *byte = (at % 251) as u8;
            }
            Ok(())
        }

        fn is_remote(&self) -> bool {
            true
        }
    }

    fn source(counted: &Arc<Counted>) -> Source {
        Source::new(Path::new("far"), 1 << 20, Arc::clone(counted) as _)
    }

    fn expected(range: Range<u64>) -> Vec<u8> {
        range.map(|at| (at % 251) as u8).collect()
    }

    fn plan(
        source: &Source,
        ranges: Vec<(StreamId, Range<u64>)>,
    ) -> impl Iterator<Item = Planned> + Send + 'static {
        let source = source.clone();
        ranges.into_iter().map(move |(stream, range)| Planned {
            stream,
            source: source.clone(),
            range,
        })
    }

    #[test]
    fn streams_are_read_in_turn_and_each_byte_once() {
        let counted = Arc::new(Counted::default());
        let source = source(&counted);
        // Two columns in each of twenty groups: the images first, labels close behind them.
        let ranges = |group: u64| {
            (
                group * 1000..group * 1000 + 450,
                group * 1000 + 455..group * 1000 + 480,
            )
        };
        let all = (0..20).flat_map(|group| {
            let (images, labels) = ranges(group);
            [
                ((0, group as usize, 0), images),
                ((0, group as usize, 1), labels),
            ]
        });
        let ahead = Ahead::limited(plan(&source, all.collect()), LIMITS);
        for group in 0..20 {
            let (images, labels) = ranges(group);
            let image = ahead.stream((0, group as usize, 0), &source);
            let label = ahead.stream((0, group as usize, 1), &source);
            for step in 0..25 {
                let (start, end) = (images.start + step * 18, images.start + step * 18 + 18);
                // A header is looked at before what follows it is read.
                assert_eq!(image.read(start, 5).unwrap(), expected(start..start + 5));
                assert_eq!(image.read(start, 18).unwrap(), expected(start..end));
                let at = labels.start + step;
                assert_eq!(label.read(at, 1).unwrap(), expected(at..at + 1));
            }
        }
        assert_eq!(counted.requests.load(Ordering::Relaxed), 20 * 5);
        // With the gaps of five bytes.
        assert_eq!(counted.bytes.load(Ordering::Relaxed), 20 * 480);
    }

    #[test]
    fn no_more_is_read_than_there_is_room_for() {
        let counted = Arc::new(Counted::default());
        let source = source(&counted);
        let ahead = Ahead::limited(plan(&source, vec![((0, 0, 0), 0..10_000)]), LIMITS);
        let stream = ahead.stream((0, 0, 0), &source);
        assert_eq!(stream.read(0, 50).unwrap(), expected(0..50));
        thread::sleep(Duration::from_millis(50));
        assert!(counted.bytes.load(Ordering::Relaxed) <= LIMITS.window);
        // More at once than there is room for.
        assert_eq!(stream.read(100, 2000).unwrap(), expected(100..2100));
        drop(stream);
        let before = counted.bytes.load(Ordering::Relaxed);
        thread::sleep(Duration::from_millis(50));
        let read = counted.bytes.load(Ordering::Relaxed);
        assert!(
            before <= 2400 && read <= before,
            "what nobody reads is not fetched"
        );
    }

    #[test]
    fn what_is_not_planned_is_read_all_the_same() {
        let counted = Arc::new(Counted::default());
        let source = source(&counted);
        let ahead = Ahead::limited(plan(&source, vec![((0, 0, 0), 100..200)]), LIMITS);
        let stream = ahead.stream((0, 0, 0), &source);
        assert_eq!(stream.read(150, 100).unwrap(), expected(150..250));
        assert_eq!(stream.read(20, 10).unwrap(), expected(20..30));
        let other = ahead.stream((7, 0, 0), &source);
        assert_eq!(other.read(5, 10).unwrap(), expected(5..15));
        // A large range after small ones that nobody reads.
        let ranges =
            (0..50).map(|group| ((0, group, 0), group as u64 * 100..group as u64 * 100 + 90));
        let ahead = Ahead::limited(plan(&source, ranges.collect()), LIMITS);
        let last = ahead.stream((0, 49, 0), &source);
        assert_eq!(last.read(4900, 90).unwrap(), expected(4900..4990));
    }

    #[test]
    fn an_error_is_for_who_reads_there() {
        let broken = Some(150..160);
        let counted = Arc::new(Counted {
            broken,
            ..Counted::default()
        });
        let source = source(&counted);
        let ahead = Ahead::limited(plan(&source, vec![((0, 0, 0), 0..1000)]), LIMITS);
        let stream = ahead.stream((0, 0, 0), &source);
        assert_eq!(stream.read(0, 100).unwrap(), expected(0..100));
        let error = stream.read(100, 60).unwrap_err().to_string();
        assert!(error.contains("broken"), "{error}");
        assert_eq!(stream.read(200, 100).unwrap(), expected(200..300));
    }
}
