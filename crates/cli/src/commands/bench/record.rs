//! The figures as they are written.

use std::path::Path;

use kiln_metrics::Latency;
use kiln_pipeline::bench::{BenchTarget, Measurement, SEED};
use kiln_pipeline::runtime::RuntimeRecord;
use serde::Serialize;

use super::ms;

/// The whole of it.
#[derive(Serialize)]
pub struct Record<'a> {
    kiln: &'static str,
    platform: String,
    cores: usize,
    pub model: ModelRecord<'a>,
    pub input: InputRecord,
    /// Number of threads that called the model at the same time.
    pub callers: u16,
    engines: Vec<EngineRecord<'a>>,
}

#[derive(Serialize)]
pub struct ModelRecord<'a> {
    pub path: &'a Path,
    pub bytes: u64,
}

/// Random pixels, prepared as the model prepares images.
#[derive(Serialize)]
pub struct InputRecord {
    /// Of one image: channels, height, width.
    pub shape: [usize; 3],
    seed: u64,
}

#[derive(Serialize)]
struct EngineRecord<'a> {
    runtime: &'a RuntimeRecord,
    /// From the file to a model that is ready; the engine's library was loaded before.
    load_ms: f64,
    batches: Vec<BatchRecord>,
}

#[derive(Serialize)]
struct BatchRecord {
    first_run_ms: f64,
    #[serde(flatten)]
    latency: Latency,
}

impl<'a> Record<'a> {
    /// Collects what was measured of a model's file.
    pub fn new(file: &'a Path, callers: u16, targets: &'a [BenchTarget]) -> anyhow::Result<Self> {
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
        Ok(Self {
            kiln: kiln_util::VERSION,
            platform: kiln_util::platform(),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            model: ModelRecord {
                path: file,
                bytes: std::fs::metadata(file)?.len(),
            },
            input: InputRecord { shape, seed: SEED },
            callers,
            engines: targets.iter().map(engine).collect(),
        })
    }
}
