//! What a pipeline tells while it works. An observer draws it, logs it or drops it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Receives events, from any thread.
///
/// Closures `Fn(&Event<'_>)` are observers, and so is `()`, which drops everything.
pub trait Observer: Sync {
    /// Takes note of an event. Work waits until this returns.
    fn event(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Sync> Observer for F {
    fn event(&self, event: &Event<'_>) {
        self(event);
    }
}

impl Observer for () {
    fn event(&self, _: &Event<'_>) {}
}

/// Work whose progress can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Task<'a> {
    /// Downloading or unpacking a file of an asset, in bytes.
    Fetch {
        /// The step, for people.
        what: &'a str,
    },
    /// Reading the images of a dataset.
    Read {
        /// The dataset's name.
        dataset: &'a str,
    },
    /// Computing features of the frozen prefix, in images.
    Features,
    /// Running a model over images.
    Evaluate {
        /// The engine's title.
        engine: &'a str,
    },
    /// Running two models over images.
    Compare,
    /// Timing models, in turns.
    Bench,
}

/// Something that happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A task began.
    TaskStarted {
        /// The task.
        task: Task<'a>,
        /// Number of steps, if known.
        total: Option<u64>,
    },
    /// A task advanced.
    TaskAdvanced {
        /// The task.
        task: Task<'a>,
        /// Steps done so far.
        done: u64,
        /// Steps that were done before this task began, and cost no time.
        resumed: u64,
        /// Number of steps, if known.
        total: Option<u64>,
    },
    /// A task ended, whether or not it succeeded.
    TaskFinished {
        /// The task.
        task: Task<'a>,
    },
    /// An asset that is not in the cache is about to be fetched.
    Fetching {
        /// Its name.
        asset: &'a str,
        /// Its size in bytes.
        bytes: u64,
        /// Its license.
        license: &'a str,
    },
    /// An asset was fetched.
    Fetched {
        /// Where it lies now.
        folder: &'a Path,
        /// Where its files came from.
        sources: &'a [String],
    },
    /// A line about a fetch, for people.
    FetchMessage(&'a str),
    /// A dataset of image files was read.
    DatasetRead {
        /// The dataset's name.
        name: &'a str,
        /// Number of images.
        images: u64,
        /// Time it took.
        seconds: f64,
        /// Files that are not images, by ending, the most frequent first.
        other_files: &'a [(String, u64)],
    },
}

/// A running task. Dropping it ends the task.
pub struct TaskGuard<'a> {
    observer: &'a dyn Observer,
    task: Task<'a>,
    total: Option<u64>,
    done: AtomicU64,
    resumed: u64,
}

impl<'a> TaskGuard<'a> {
    /// Starts a task.
    pub(crate) fn start(observer: &'a dyn Observer, task: Task<'a>, total: Option<u64>) -> Self {
        observer.event(&Event::TaskStarted { task, total });
        Self {
            observer,
            task,
            total,
            done: AtomicU64::new(0),
            resumed: 0,
        }
    }

    /// Counts steps that were done before, which say nothing about the speed.
    pub(crate) fn resume(mut self, steps: u64) -> Self {
        self.resumed = steps;
        *self.done.get_mut() = steps;
        self
    }

    /// Advances by some steps.
    pub(crate) fn advance(&self, steps: u64) {
        let done = self.done.fetch_add(steps, Ordering::Relaxed) + steps;
        self.observer.event(&Event::TaskAdvanced {
            task: self.task,
            done,
            resumed: self.resumed,
            total: self.total,
        });
    }

    /// Advances to a number of steps.
    pub(crate) fn set(&self, done: u64) {
        let before = self.done.load(Ordering::Relaxed);
        self.advance(done.saturating_sub(before));
    }
}

impl Drop for TaskGuard<'_> {
    fn drop(&mut self) {
        self.observer
            .event(&Event::TaskFinished { task: self.task });
    }
}
