//! What every phase gets: where assets come from, who observes, how to stop, how many threads.

#[cfg(feature = "training")]
use std::time::Duration;

use kiln_util::CancelToken;

use crate::assets::AssetProvider;
use crate::dataset::store::FileDatasets;
use crate::event::{Event, Observer, Task, TaskGuard};
use crate::limits::{Limits, Watch};

/// How often work that cannot be interrupted is looked after.
#[cfg(feature = "training")]
const LOOK: Duration = Duration::from_millis(5);

/// The surroundings of a pipeline, shared by its phases.
///
/// ```no_run
/// use kiln_pipeline::{CachedAssets, Context, Event};
///
/// let assets = CachedAssets::from_env()?;
/// let observer = |event: &Event<'_>| eprintln!("{event:?}");
/// let context = Context::new(&assets, &observer);
/// # Ok::<(), kiln_pipeline::Error>(())
/// ```
pub struct Context<'a> {
    /// Where datasets, pretrained weights and libraries come from.
    pub assets: &'a dyn AssetProvider,
    /// Who hears what happens.
    pub observer: &'a dyn Observer,
    /// Stops the work after its current step.
    pub cancel: CancelToken,
    /// Number of threads that engines use; one per core if `None`. Rayon's global pool, on which
    /// training runs, is the program's to build.
    pub threads: Option<usize>,
    /// Datasets of image files, read at most once.
    pub files: FileDatasets,
    /// What a model may take until its first result; anything if `None`.
    pub limits: Option<Limits>,
}

impl<'a> Context<'a> {
    /// Creates a context that nothing stops, with one thread per core, for which an unreadable
    /// image is an error.
    pub fn new(assets: &'a dyn AssetProvider, observer: &'a dyn Observer) -> Self {
        Self {
            assets,
            observer,
            cancel: CancelToken::new(),
            threads: None,
            files: FileDatasets::new(false),
            limits: None,
        }
    }

    /// Skips images that cannot be read; [`FileDatasets::skipped`] lists them afterwards.
    #[must_use]
    pub fn skip_unreadable(mut self, skip: bool) -> Self {
        self.files = FileDatasets::new(skip);
        self
    }

    /// Sends an event to the observer.
    pub(crate) fn emit(&self, event: &Event<'_>) {
        self.observer.event(event);
    }

    /// Watches what work on a model of so many bytes with so many images takes, until the value is dropped, where
    /// there are [limits](Self::limits).
    pub(crate) fn watch(&self, work: &str, weights: u64, images: u64) -> Option<Watch> {
        let limits = self.limits.as_ref()?;
        Some(limits.watch(work, weights, images))
    }

    /// Does work that cannot be interrupted, such as loading a model, in another thread. Returns nothing if cancelled
    /// before it is done; the thread then ends by itself.
    #[cfg(feature = "training")]
    pub(crate) fn interruptible<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let worker = std::thread::spawn(work);
        while !worker.is_finished() {
            if self.cancel.is_cancelled() {
                return None;
            }
            std::thread::sleep(LOOK);
        }
        let done = worker.join();
        Some(done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }

    /// Begins a task whose progress the observer hears; it ends when the guard is dropped.
    pub(crate) fn task<'t>(&'t self, task: Task<'t>, total: Option<u64>) -> TaskGuard<'t> {
        TaskGuard::start(self.observer, task, total)
    }
}
