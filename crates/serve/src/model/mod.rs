//! A model in service: loaded, proven, warm, with a queue and workers.

mod job;
mod prepare;
mod queue;
mod trial;
mod worker;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use kiln_inference::{
    EngineId, InputKind, Model, ModelFile, Options, Sidecar, SidecarError, VerifyError,
};
use kiln_util::catch_panic;
use tokio::sync::oneshot;
use tracing::{info, warn};

pub use job::{Answer, Failure, Input, Timings};
pub use queue::Refused;

use crate::metrics::Metrics;
use job::Job;
use worker::Work;

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
    work: Arc<Work>,
}

/// Images of a request that wait for their answers. Dropping it takes those out of the queue that no worker has
/// taken.
#[derive(Debug)]
pub struct Ticket {
    work: Arc<Work>,
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
        let metrics = metrics.of_model(name, &version.to_string(), model.labels());
        let failed = |reason: String| LoadError::WarmUp {
            path: path.into(),
            reason,
        };
        let prepared = catch_panic(|| Work::prepare(Arc::clone(&model), metrics, settings));
        let work = prepared
            .unwrap_or_else(|_| Err("the engine panicked".into()))
            .map_err(failed)?;
        let served = Arc::new(Self {
            name: name.to_owned(),
            version,
            path: path.into(),
            model,
            input_name,
            golden,
            work: Arc::new(work),
        });
        served
            .start_workers()
            .map_err(|error| failed(error.to_string()))?;
        served.work.metrics.set_ready(true);
        info!(
            model = name,
            version,
            path = %path.display(),
            engine = %served.model.runtime().engine,
            workers = served.work.workers,
            max_batch = served.work.max_batch,
            golden = served.golden,
            seconds = start.elapsed().as_secs_f64(),
            "model is ready"
        );
        Ok(served)
    }

    /// Starts the threads that answer the queue until it is closed and empty.
    fn start_workers(&self) -> io::Result<()> {
        for worker in 0..self.work.workers {
            let work = Arc::clone(&self.work);
            let thread = thread::Builder::new()
                .name(format!("{}-{}-{worker}", self.name, self.version))
                .spawn(move || work.run());
            match thread {
                Ok(_) => {}
                Err(error) if worker == 0 => return Err(error),
                Err(error) => warn!(%error, "the system refuses a thread: fewer workers"),
            }
        }
        Ok(())
    }

    /// Answers an image at once on the calling thread, where the graph is quick, the image small, the connections few, and
    /// nobody waits; `None` where it is to be [submitted](Self::submit).
    pub fn answer_here(
        &self,
        input: &Input,
        connections: usize,
    ) -> Option<Result<Answer, Failure>> {
        self.work.answer_here(input, connections)
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
        let numbers = self.work.queue.push(jobs)?;
        self.work.count_queued();
        Ok(Ticket {
            work: Arc::clone(&self.work),
            numbers,
            receivers,
        })
    }

    /// Ends the service of a model that another has replaced: what is in the queue is still answered, and nothing
    /// else taken.
    pub fn retire(&self) {
        self.work.queue.close();
    }

    /// The same for a model in whose place there is none.
    pub fn withdraw(&self) {
        self.work.metrics.set_ready(false);
        self.retire();
    }

    /// Returns the maximum number of images that wait.
    pub fn queue_capacity(&self) -> usize {
        self.work.queue.capacity()
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
                .unwrap_or_else(|_| Err(Failure::unexpected()));
            answers.push(result.map_err(|failure| (at, failure))?);
        }
        self.numbers.start = self.numbers.end;
        Ok(answers)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.numbers.is_empty() {
            self.work.queue.remove(&self.numbers);
            self.work.count_queued();
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
