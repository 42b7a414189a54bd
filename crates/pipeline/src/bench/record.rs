//! The figures of a benchmark as they are written.

use std::path::Path;
use std::time::Duration;

use kiln_inference::ModelFile;
use kiln_metrics::Latency;
use serde::Serialize;

use super::input::SEED;
use super::target::{BenchTarget, Measurement};
use crate::runtime::RuntimeRecord;

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
                bytes: file.bytes().len() as u64,
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
