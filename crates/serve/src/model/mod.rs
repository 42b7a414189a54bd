//! A model in service: loaded, proven, warm, with a queue and workers.

mod job;
mod prepare;
mod queue;
mod worker;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use kiln_inference::{
    EngineId, InputKind, Model, ModelFile, Options, RunError, Sessions, Sidecar, SidecarError,
    VerifyError,
};
use tokio::sync::oneshot;
use tracing::{info, warn};

pub use job::{Answer, Failure, Input, Timings};
pub use queue::Refused;

use crate::metrics::{Metrics, ModelMetrics};
use job::Job;
use queue::Queue;
use worker::Work;

/// Images in a batch by default: larger ones make engines little faster, and everyone in them waits longer.
const DEFAULT_BATCH: usize = 16;
/// A run of one image that is so short that what a batch saves beside the graph counts: some 50 microseconds of waking
/// and answering for each.
const QUICK: Duration = Duration::from_millis(2);
/// Images of a batch that is compared with single images.
const TRIAL_BATCH: usize = 4;
/// Runs of each kind that are compared, after a first one.
const TRIALS: usize = 3;
/// The share of the time that is worth another way of running: less is what measurements vary by.
const WORTHWHILE: f64 = 0.9;

/// How models are loaded and run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// Engine, device and threads. What a sidecar beside a file specifies is added.
    pub options: Options,
    /// Maximum number of images in a batch; by default 16, or as many as have 8 MiB of input, where batches make an
    /// image faster, and 1 where they do not.
    pub max_batch: Option<usize>,
    /// How long a batch that is not full is waited for. Zero, the default, for not at all.
    pub max_delay: Duration,
    /// Maximum number of images that wait for a model.
    pub queue: usize,
    /// Maximum number of pixels of an image.
    pub max_pixels: u64,
    /// Whether golden vectors are replayed before a model answers.
    pub verify: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            options: Options::default(),
            max_batch: None,
            max_delay: Duration::ZERO,
            queue: 256,
            max_pixels: 64_000_000,
            verify: true,
        }
    }
}

/// Why a model is not put into service. Its text names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be loaded.
    #[error(transparent)]
    Load(#[from] kiln_inference::LoadError),
    /// The sidecar cannot be used.
    #[error(transparent)]
    Sidecar(#[from] SidecarError),
    /// This machine computes other scores than the file has.
    #[error("`{}`: the scores of its golden vectors differ on this machine: {verification}", path.display())]
    Golden {
        /// The model's file.
        path: PathBuf,
        /// What was found.
        verification: String,
    },
    /// Golden vectors cannot be replayed.
    #[error("`{}`: its golden vectors cannot be replayed: {reason}", path.display())]
    Verify {
        /// The model's file.
        path: PathBuf,
        /// Why. Its text is part of this error's, so it is not the `source` too.
        reason: VerifyError,
    },
    /// The first run failed.
    #[error("`{}`: its first run failed: {reason}", path.display())]
    WarmUp {
        /// The model's file.
        path: PathBuf,
        /// The engine's message.
        reason: String,
    },
}

/// A version of a model that answers requests.
#[derive(Debug)]
pub struct Served {
    /// Name in requests.
    pub name: String,
    /// Version, from 1.
    pub version: u64,
    /// The file.
    pub path: PathBuf,
    /// The model.
    pub model: Arc<Model>,
    /// The graph's input.
    pub input_name: String,
    /// What there is to say of its golden vectors.
    pub golden: String,
    queue: Arc<Queue<Job>>,
    metrics: Arc<ModelMetrics>,
}

/// Images of a request that wait for their answers. Dropping it takes those out of the queue that no worker has
/// taken.
#[derive(Debug)]
pub struct Ticket {
    queue: Arc<Queue<Job>>,
    metrics: Arc<ModelMetrics>,
    numbers: Range<u64>,
    receivers: Vec<oneshot::Receiver<Result<Answer, Failure>>>,
}

impl Served {
    /// Loads a model, replays its golden vectors, warms it up, and starts its workers.
    ///
    /// # Errors
    ///
    /// Returns why it cannot be put into service.
    pub fn load(
        name: &str,
        version: u64,
        path: &Path,
        settings: &Settings,
        metrics: &Metrics,
    ) -> Result<Arc<Self>, LoadError> {
        let start = Instant::now();
        let mut options = settings.options.clone();
        if let Some(sidecar) = Sidecar::of(path)? {
            options.declared = options.declared.or(sidecar.overrides);
        }
        let (model, input_name) = open(path, &options)?;
        let model = Arc::new(model);
        let golden = if settings.verify {
            verify(&model, path)?
        } else {
            "not replayed".into()
        };
        let version_text = version.to_string();
        let served = Arc::new(Self {
            name: name.to_owned(),
            version,
            path: path.into(),
            input_name,
            golden,
            queue: Arc::new(Queue::new(settings.queue)),
            metrics: Arc::new(metrics.of_model(name, &version_text, model.labels())),
            model,
        });
        let (workers, max_batch) = served.start(settings)?;
        served.metrics.set_ready(true);
        info!(
            model = name,
            version,
            path = %path.display(),
            engine = %served.model.runtime().engine,
            workers,
            max_batch,
            golden = served.golden,
            seconds = start.elapsed().as_secs_f64(),
            "model is ready"
        );
        Ok(served)
    }

    /// Warms the sessions up and starts the workers. Returns their number, and the maximum number of images in a batch.
    fn start(&self, settings: &Settings) -> Result<(usize, usize), LoadError> {
        let (sender, receiver) = sync_channel(1);
        let model = Arc::clone(&self.model);
        let queue = Arc::clone(&self.queue);
        let metrics = Arc::clone(&self.metrics);
        let (max_delay, max_pixels) = (settings.max_delay, settings.max_pixels);
        let wanted = settings.max_batch;
        let name = format!("{}-{}", self.name, self.version);
        // Holds what workers borrow, and ends after the last of them.
        let run = move || {
            let sessions = model.sessions();
            let threads = model.runtime().threads.max(1);
            // Where sessions are fewer, others prepare images meanwhile.
            let workers = if sessions.limit() < threads {
                threads + sessions.limit()
            } else {
                threads
            };
            let prepared = || {
                let batch = max_batch(&model, &sessions, wanted)?;
                sessions.warm_up(batch, None)?;
                Ok((batch, shares_single(&model, &sessions)?))
            };
            let prepared: Result<_, RunError> = prepared();
            let (max_batch, shares_single) = match prepared {
                Ok(prepared) => prepared,
                Err(error) => {
                    // Whoever waits for it is there.
                    let _ = sender.send(Err(error.to_string()));
                    return;
                }
            };
            if sender.send(Ok((workers, max_batch))).is_err() {
                return;
            }
            let work = Work {
                model: &model,
                sessions: &sessions,
                queue: &queue,
                metrics: &metrics,
                max_batch,
                max_delay,
                max_pixels,
                workers,
                shares_single,
            };
            thread::scope(|scope| {
                for worker in 1..workers {
                    let thread = thread::Builder::new().name(format!("{name}-{worker}"));
                    if let Err(error) = thread.spawn_scoped(scope, || work.run()) {
                        warn!(%error, "the system refuses a thread: fewer workers");
                    }
                }
                work.run();
            });
        };
        let failed = |reason: String| LoadError::WarmUp {
            path: self.path.clone(),
            reason,
        };
        thread::Builder::new()
            .name(format!("{}-{}-0", self.name, self.version))
            .spawn(run)
            .map_err(|error| failed(error.to_string()))?;
        match receiver.recv() {
            Ok(Ok(started)) => Ok(started),
            Ok(Err(reason)) => Err(failed(reason)),
            Err(_) => Err(failed("the engine panicked".into())),
        }
    }

    /// Puts images into the queue, all or none.
    ///
    /// # Errors
    ///
    /// Returns that there is no room, or that the model was retired.
    pub fn submit(&self, inputs: Vec<Input>) -> Result<Ticket, Refused> {
        let (jobs, receivers) = inputs
            .into_iter()
            .map(|input| {
                let (respond, receiver) = oneshot::channel();
                (Job { input, respond }, receiver)
            })
            .unzip();
        let numbers = self.queue.push(jobs)?;
        self.metrics.queued(self.queue.len());
        Ok(Ticket {
            queue: Arc::clone(&self.queue),
            metrics: Arc::clone(&self.metrics),
            numbers,
            receivers,
        })
    }

    /// Ends the service of a model that another has replaced: what is in the queue is still answered, and nothing
    /// else taken.
    pub fn retire(&self) {
        self.queue.close();
    }

    /// The same for a model in whose place there is none.
    pub fn withdraw(&self) {
        self.metrics.set_ready(false);
        self.retire();
    }

    /// Returns the maximum number of images that wait.
    pub fn queue_capacity(&self) -> usize {
        self.queue.capacity()
    }

    /// Returns the engine that computes it.
    pub fn engine(&self) -> EngineId {
        self.model.runtime().engine
    }

    /// Returns the shape of an image as the graph takes it.
    pub fn image_shape(&self) -> [usize; 3] {
        let spec = self.model.spec();
        spec.layout.image_shape(self.model.preprocessor().shape())
    }

    /// Returns whether the graph takes pixels rather than prepared values.
    pub fn takes_pixels(&self) -> bool {
        self.model.spec().input == InputKind::Pixels
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.retire();
    }
}

impl Ticket {
    /// Waits for the answers, in the order of the images; ends with the first failure and the number of its image,
    /// from 0.
    ///
    /// # Errors
    ///
    /// Returns why an image has no answer.
    pub async fn answers(&mut self) -> Result<Vec<Answer>, (usize, Failure)> {
        let mut answers = Vec::with_capacity(self.receivers.len());
        for (at, receiver) in self.receivers.iter_mut().enumerate() {
            let result = receiver
                .await
                .unwrap_or_else(|_| Err(Failure::Model("the model failed unexpectedly".into())));
            answers.push(result.map_err(|failure| (at, failure))?);
        }
        self.numbers.start = self.numbers.end;
        Ok(answers)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.numbers.is_empty() {
            self.queue.remove(&self.numbers);
            self.metrics.queued(self.queue.len());
        }
    }
}

/// Loads a file, and returns the name of the graph's input too.
fn open(path: &Path, options: &Options) -> Result<(Model, String), kiln_inference::LoadError> {
    let fail = |kind| kiln_inference::LoadError {
        origin: format!("`{}`", path.display()),
        kind,
    };
    let file = ModelFile::open(path).map_err(|error| fail(error.into()))?;
    let model = Model::load(&file, options)?;
    let proto = file.proto().map_err(|error| fail(error.into()))?;
    let input = proto.inputs().into_iter().next();
    Ok((
        model,
        input.map_or_else(|| "input".into(), |input| input.name),
    ))
}

/// Replays the golden vectors, and returns what there is to say of them.
fn verify(model: &Model, path: &Path) -> Result<String, LoadError> {
    match model.verify() {
        Ok(verification) if verification.passed() => Ok(verification.to_string()),
        Ok(verification) => Err(LoadError::Golden {
            path: path.into(),
            verification: verification.to_string(),
        }),
        Err(VerifyError::NoVectors) => Ok("none in the file".into()),
        Err(reason) => Err(LoadError::Verify {
            path: path.into(),
            reason,
        }),
    }
}

/// The time of a run of so many images in a session, the least of some.
fn session_time(
    sessions: &Sessions<'_>,
    values: &mut [f32],
    images: usize,
) -> Result<Duration, RunError> {
    let mut least = Duration::MAX;
    // One more, since engines plan and allocate at the first.
    for _ in 0..=TRIALS {
        let start = Instant::now();
        sessions.classify(values, images)?;
        least = least.min(start.elapsed());
    }
    Ok(least)
}

/// The maximum number of images in a batch: what is `wanted`, or else a number by which an image takes less time than
/// alone; of large networks it does not, and everyone in a batch would only wait longer.
fn max_batch(
    model: &Model,
    sessions: &Sessions<'_>,
    wanted: Option<usize>,
) -> Result<usize, RunError> {
    let spec = model.spec();
    if let Some(batch) = spec.batch {
        return Ok(batch);
    }
    // The scores of an image must not depend on who else sends some.
    if spec.is_batch_dependent {
        return Ok(1);
    }
    if let Some(wanted) = wanted {
        return Ok(wanted.max(1));
    }
    let limit = DEFAULT_BATCH.min(model.stream_batch_size());
    let some = TRIAL_BATCH.min(limit);
    let size = model.preprocessor().len();
    let mut values = vec![0.0; some * size];
    let alone = session_time(sessions, &mut values[..size], 1)?;
    let together = session_time(sessions, &mut values, some)? / some as u32;
    Ok(if alone < QUICK || together < alone.mul_f64(WORTHWHILE) {
        limit
    } else {
        1
    })
}

/// Measures whether one image is computed faster by all threads together than in a session. Sessions are warm.
fn shares_single(model: &Model, sessions: &Sessions<'_>) -> Result<bool, RunError> {
    if model.runtime().threads < 2 {
        return Ok(false);
    }
    let mut values = vec![0.0; model.preprocessor().len()];
    let alone = session_time(sessions, &mut values, 1)?;
    let mut together = Duration::MAX;
    for _ in 0..=TRIALS {
        let start = Instant::now();
        model.classify_prepared(&mut values, 1)?;
        together = together.min(start.elapsed());
    }
    Ok(together < alone.mul_f64(WORTHWHILE))
}
