//! How fast models are: a model on one engine, what it is run on, what was measured of it, and that
//! as it is written. Several are measured in turns (`turns`); what the steps of one cost is in `profile`.

mod profile;
mod turns;

use std::path::Path;
use std::time::{Duration, Instant};

use kiln_inference::{Model, ModelFile, RawImage};
use kiln_metrics::Latency;
use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};
use serde::Serialize;

use crate::context::Context;
use crate::engines::{self, EngineRequest};
use crate::error::Result;
pub use crate::error::models::BenchError;
use crate::runtime::RuntimeRecord;
pub use profile::{Bound, ProfileRecord, StepRecord};
pub use turns::{BenchLength, BenchPlan, measure};

/// The seed of the random pixels, which are the same in every run.
const SEED: u64 = 0;

/// Most bytes of a batch.
const MAX_BYTES: usize = 1 << 30;

/// What was measured at one batch size.
#[derive(Debug, Clone, Copy)]
pub struct Measurement {
    /// The first run at this batch size: engines plan and allocate then.
    pub first: Duration,
    /// The runs that count.
    pub latency: Latency,
}

/// A model on one engine, and what was measured of it.
pub struct BenchTarget {
    title: String,
    model: Model,
    runtime: RuntimeRecord,
    load: Duration,
    measurements: Vec<Measurement>,
}

impl BenchTarget {
    /// Loads a model, which results call `title`. Its file is read, and ONNX Runtime's library loaded,
    /// before the clock starts: once for all models of a process.
    pub fn load(
        title: impl Into<String>,
        file: &ModelFile,
        request: &EngineRequest,
        context: &Context<'_>,
    ) -> Result<Self> {
        engines::load_library(request, context)?;
        let file = file.undecoded();
        let start = Instant::now();
        let model = engines::load(&file, request, context)?;
        let load = start.elapsed();
        Ok(Self {
            title: title.into(),
            runtime: RuntimeRecord::from(&model),
            model,
            load,
            measurements: Vec::new(),
        })
    }

    /// Runs a batch, and returns how long it took.
    fn run(&self, input: &Input) -> Result<Duration> {
        let start = Instant::now();
        std::hint::black_box(self.model.run(&input.values, input.images)?);
        Ok(start.elapsed())
    }

    /// What results call it.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The loaded model.
    pub const fn model(&self) -> &Model {
        &self.model
    }

    /// What it runs on.
    pub const fn runtime(&self) -> &RuntimeRecord {
        &self.runtime
    }

    /// Time from the file to a model that is ready.
    pub const fn load_time(&self) -> Duration {
        self.load
    }

    /// What was measured, once for each batch size, in the order in which they were measured.
    pub fn measurements(&self) -> &[Measurement] {
        &self.measurements
    }

    /// Returns the latency at each batch size.
    pub fn latencies(&self) -> Vec<Latency> {
        self.measurements
            .iter()
            .map(|measurement| measurement.latency)
            .collect()
    }
}

/// A prepared batch.
struct Input {
    /// `[images, channels, height, width]`.
    values: Vec<f32>,
    images: usize,
}

/// Makes images of random pixels, prepared as the model prepares images: values are in the range that
/// it was made for.
pub(crate) fn random_images(model: &Model, images: usize) -> Result<Vec<f32>> {
    Ok(Input::random(model, images)?.values)
}

impl Input {
    fn random(model: &Model, images: usize) -> Result<Self> {
        let preprocessor = model.preprocessor();
        let [channels, height, width] = preprocessor.shape();
        let size = preprocessor.len();
        let total = size.saturating_mul(images);
        if total.saturating_mul(size_of::<f32>()) > MAX_BYTES {
            return Err(BenchError::TooLarge {
                images,
                shape: preprocessor.shape(),
                limit: MAX_BYTES,
            }
            .into());
        }
        let channels = if channels == 1 { 1 } else { 3 };
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let mut pixels = vec![0; channels * height * width];
        let mut values = vec![0.0; total];
        for out in values.chunks_exact_mut(size) {
            random.fill_bytes(&mut pixels);
            let image = RawImage {
                pixels: &pixels,
                height: height as u32,
                width: width as u32,
                channels: channels as u32,
            };
            preprocessor.raw(image, out)?;
        }
        Ok(Self { values, images })
    }
}

/// The figures of a model on each engine, as they are written.
#[derive(Debug, Serialize)]
pub struct BenchRecord<'a> {
    kiln: &'static str,
    platform: String,
    cores: usize,
    /// The model's file.
    pub model: ModelRecord<'a>,
    /// The input of every run.
    pub input: InputRecord,
    /// Number of threads that called the model at the same time.
    pub callers: u16,
    engines: Vec<EngineRecord<'a>>,
}

/// A model's file.
#[derive(Debug, Serialize)]
pub struct ModelRecord<'a> {
    /// Its path.
    pub path: &'a Path,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Random pixels, prepared as the model prepares images.
#[derive(Debug, Serialize)]
pub struct InputRecord {
    /// Of one image: channels, height, width.
    pub shape: [usize; 3],
    seed: u64,
}

#[derive(Debug, Serialize)]
struct EngineRecord<'a> {
    runtime: &'a RuntimeRecord,
    /// From the file to a model that is ready; the engine's library was loaded before.
    load_ms: f64,
    batches: Vec<BatchRecord>,
}

#[derive(Debug, Serialize)]
struct BatchRecord {
    first_run_ms: f64,
    #[serde(flatten)]
    latency: Latency,
}

impl<'a> BenchRecord<'a> {
    /// Collects what was measured of a model's file.
    pub fn new(file: &'a ModelFile, callers: u16, targets: &'a [BenchTarget]) -> Self {
        let batch = |m: &Measurement| BatchRecord {
            first_run_ms: ms(m.first),
            latency: m.latency,
        };
        let engine = |target: &'a BenchTarget| EngineRecord {
            runtime: target.runtime(),
            load_ms: ms(target.load_time()),
            batches: target.measurements().iter().map(batch).collect(),
        };
        let shape = targets
            .first()
            .map_or([0; 3], |target| target.model().preprocessor().shape());
        Self {
            kiln: kiln_util::VERSION,
            platform: kiln_util::platform(),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            model: ModelRecord {
                path: file.path().unwrap_or(Path::new("")),
                bytes: file.total_bytes(),
            },
            input: InputRecord { shape, seed: SEED },
            callers,
            engines: targets.iter().map(engine).collect(),
        }
    }
}

/// Returns milliseconds.
fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
