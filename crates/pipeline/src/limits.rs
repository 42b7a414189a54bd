//! What a model may take until its first result, for programs that open files of unknown origin.
//!
//! A file is checked before an engine sees it, by an abstract run of its graph
//! ([`kiln_onnx::check_sizes`]). What only shows when an engine optimizes and runs the graph, such as sizes that
//! follow from pixels, cannot be stopped from inside the process: neither engine takes a limit. So the process is
//! watched, and the program decides what to do, which can only be to end it.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use kiln_onnx::Budget;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// How often the process is looked at. In this time it can touch some 20 MB of new memory.
const INTERVAL: Duration = Duration::from_millis(10);

/// What loading a model and its first run may take, beyond what the process has at that time.
///
/// ```no_run
/// use kiln_pipeline::limits::Limits;
/// # use kiln_pipeline::{CachedAssets, Context};
///
/// # let (assets, observer) = (CachedAssets::from_env()?, ());
/// let mut context = Context::new(&assets, &observer);
/// context.limits = Some(Limits::new(|exceeded| {
///     eprintln!("{exceeded}");
///     std::process::exit(2);
/// }));
/// # Ok::<(), kiln_pipeline::Error>(())
/// ```
#[derive(Clone)]
pub struct Limits {
    /// Bytes of memory, without what the model's weights take; nothing for no limit.
    pub memory: Option<u64>,
    /// Time, without what the model's weights take; nothing for no limit. Neither time in which the process is kept
    /// waiting nor that of several cores together counts.
    pub time: Option<Duration>,
    exceeded: Arc<dyn Fn(Exceeded) + Send + Sync>,
}

/// A model that takes more than the [`Limits`] allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are in the messages")]
pub enum Exceeded {
    /// More memory.
    #[error("{work} takes more than {} MB of memory", limit / 1_000_000)]
    Memory { work: String, limit: u64 },
    /// More time.
    #[error("{work} takes more than {} s", limit.as_secs())]
    Time { work: String, limit: Duration },
}

impl Limits {
    /// Memory by default: 1.6 GB. Networks of today take tens of MB for a photograph, besides their weights.
    pub const MEMORY: u64 = 1_600_000_000;
    /// Time by default: 15 s.
    pub const TIME: Duration = Duration::from_secs(15);
    /// Memory for each byte of weights: engines convert them to float32, which makes four bytes of one, and tract
    /// keeps a second copy in its kernels' order.
    const PER_WEIGHT: u64 = 8;
    /// Memory for each image after the first: decoded photographs, and what lies between the layers.
    const PER_IMAGE: u64 = 100_000_000;
    /// Weights for which a second more is allowed, some tenth of what an engine loads in it.
    const BYTES_PER_SECOND: u64 = 10_000_000;

    /// The defaults. `exceeded` is called, once for each model, on a thread of its own while the work goes on: it
    /// should end the process.
    pub fn new(exceeded: impl Fn(Exceeded) + Send + Sync + 'static) -> Self {
        Self {
            memory: Some(Self::MEMORY),
            time: Some(Self::TIME),
            exceeded: Arc::new(exceeded),
        }
    }

    /// What an engine may be asked for by a file, where more memory is allowed than by default.
    pub(crate) fn budget(&self) -> Budget {
        let mut budget = Budget::default();
        let memory = self.memory.unwrap_or(u64::MAX);
        budget.bytes_per_value = budget.bytes_per_value.max(memory / 2);
        budget.bytes_per_batch = budget.bytes_per_batch.max(memory);
        budget
    }

    /// Watches until the value is dropped; `work` says what is watched, such as "loading `a.onnx`", `weights` are the
    /// bytes of the model, and `images` how many it gets.
    pub(crate) fn watch(&self, work: &str, weights: u64, images: u64) -> Watch {
        let allowed = self.allowed(weights, images);
        if allowed
            == (Allowed {
                memory: None,
                time: None,
            })
        {
            return Watch { _stop: None };
        }
        let (stop, stopped) = mpsc::channel::<()>();
        let (work, exceeded) = (work.to_owned(), Arc::clone(&self.exceeded));
        // Where no thread can be started, the work itself says so.
        let _ = thread::Builder::new()
            .name("kiln-limits".into())
            .spawn(move || {
                let Some(mut process) = Process::new() else {
                    return;
                };
                while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    let (memory, time) = process.since();
                    if let Some(found) = allowed.check(&work, memory, time) {
                        return exceeded(found);
                    }
                }
            });
        Watch { _stop: Some(stop) }
    }

    fn allowed(&self, weights: u64, images: u64) -> Allowed {
        let more = Duration::from_secs(weights / Self::BYTES_PER_SECOND);
        let times = u32::try_from(images.max(1)).unwrap_or(u32::MAX);
        let copies = weights.saturating_mul(Self::PER_WEIGHT);
        let others = images.saturating_sub(1).saturating_mul(Self::PER_IMAGE);
        let memory = |limit: u64| limit.saturating_add(copies).saturating_add(others);
        Allowed {
            memory: self.memory.map(memory),
            time: self.time.map(|time| (time + more).saturating_mul(times)),
        }
    }
}

/// What a certain model may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Allowed {
    memory: Option<u64>,
    time: Option<Duration>,
}

impl Allowed {
    /// Returns what is exceeded by work that took so much.
    fn check(&self, work: &str, memory: u64, time: Duration) -> Option<Exceeded> {
        let work = || work.to_owned();
        let memory = self.memory.filter(|limit| memory > *limit);
        let time = self.time.filter(|limit| time > *limit);
        match (memory, time) {
            (Some(limit), _) => Some(Exceeded::Memory {
                work: work(),
                limit,
            }),
            (None, Some(limit)) => Some(Exceeded::Time {
                work: work(),
                limit,
            }),
            (None, None) => None,
        }
    }
}

impl std::fmt::Debug for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limits")
            .field("memory", &self.memory)
            .field("time", &self.time)
            .finish_non_exhaustive()
    }
}

/// Work that is watched until this is dropped.
#[derive(Debug)]
#[must_use = "the work is watched until this is dropped"]
pub(crate) struct Watch {
    /// Its end stops the thread.
    _stop: Option<Sender<()>>,
}

/// Memory and time of this process since a moment.
struct Process {
    system: System,
    pid: Pid,
    start: Instant,
    memory: u64,
    processor: Duration,
}

impl Process {
    /// Begins now; nothing where the system does not tell.
    fn new() -> Option<Self> {
        let mut process = Self {
            system: System::new(),
            pid: sysinfo::get_current_pid().ok()?,
            start: Instant::now(),
            memory: 0,
            processor: Duration::ZERO,
        };
        (process.memory, process.processor) = process.now()?;
        Some(process)
    }

    /// Bytes in memory, and time on all cores.
    fn now(&mut self) -> Option<(u64, Duration)> {
        let kind = ProcessRefreshKind::nothing().with_memory().with_cpu();
        let this = [self.pid];
        self.system
            .refresh_processes_specifics(ProcessesToUpdate::Some(&this), false, kind);
        let process = self.system.process(self.pid)?;
        let milliseconds = process.accumulated_cpu_time();
        Some((process.memory(), Duration::from_millis(milliseconds)))
    }

    /// Bytes more than at the beginning, and the time spent: the shorter of that on the clock and that on all cores,
    /// so that neither a busy machine nor many threads count.
    fn since(&mut self) -> (u64, Duration) {
        let (memory, processor) = self.now().unwrap_or((0, Duration::ZERO));
        let processor = processor.saturating_sub(self.processor);
        (
            memory.saturating_sub(self.memory),
            processor.min(self.start.elapsed()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(limits: &Limits, [weights, memory]: [u64; 2], seconds: u64) -> Option<String> {
        let allowed = limits.allowed(weights, 1);
        let found = allowed.check("loading", memory, Duration::from_secs(seconds));
        found.map(|exceeded| exceeded.to_string())
    }

    #[test]
    fn more_images_may_take_more() {
        let limits = Limits::new(|_| {});
        let most = limits.allowed(0, 3);
        assert_eq!(most.memory, Some(Limits::MEMORY + 2 * Limits::PER_IMAGE));
        assert_eq!(most.time, Some(3 * Limits::TIME));
    }

    #[test]
    fn what_is_exceeded_is_told() {
        let limits = Limits::new(|_| {});
        assert_eq!(check(&limits, [0, Limits::MEMORY], 15), None);
        let memory = check(&limits, [0, Limits::MEMORY + 1], 0).unwrap();
        assert_eq!(memory, "loading takes more than 1600 MB of memory");
        let time = check(&limits, [0, 0], 16).unwrap();
        assert_eq!(time, "loading takes more than 15 s");
    }

    #[test]
    fn large_models_may_take_more() {
        let limits = Limits::new(|_| {});
        // Half a gigabyte of weights.
        assert_eq!(check(&limits, [500_000_000, 5_000_000_000], 60), None);
        assert!(check(&limits, [500_000_000, 6_000_000_000], 0).is_some());
        assert!(check(&limits, [500_000_000, 0], 70).is_some());
    }

    #[test]
    fn without_limits_nothing_is_exceeded() {
        let mut limits = Limits::new(|_| {});
        (limits.memory, limits.time) = (None, None);
        assert_eq!(check(&limits, [0, u64::MAX], u64::MAX), None);
        assert_eq!(limits.budget().bytes_per_value, u64::MAX / 2);
    }

    #[test]
    fn more_memory_allows_larger_values() {
        let mut limits = Limits::new(|_| {});
        assert_eq!(limits.budget(), Budget::default());
        limits.memory = Some(16 << 30);
        assert_eq!(limits.budget().bytes_per_value, 8 << 30);
    }

    #[test]
    fn memory_and_time_are_those_of_this_process() {
        let mut process = Process::new().expect("the system tells");
        let (memory, _) = process.now().unwrap();
        assert!(memory > 1_000_000, "{memory}");
        let start = Instant::now();
        while process.since().1 < Duration::from_millis(200) {
            assert!(start.elapsed() < Duration::from_mins(1), "no time passes");
        }
    }
}
