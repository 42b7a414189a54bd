//! The figures as they are written.

use std::path::Path;

use kiln_metrics::Latency;
use serde::Serialize;

use crate::args::BenchArgs;
use crate::receipt::ReceiptRecord;
use crate::speed::{Contestant, Measurement, SEED, ms};

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
    runtime: &'a ReceiptRecord,
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
    pub fn new(args: &'a BenchArgs, contestants: &'a [Contestant]) -> anyhow::Result<Self> {
        let batch = |m: &Measurement| BatchRecord {
            first_run_ms: ms(m.first),
            latency: m.latency,
        };
        let engine = |contestant: &'a Contestant| EngineRecord {
            runtime: contestant.receipt(),
            load_ms: ms(contestant.load),
            batches: contestant.measurements.iter().map(batch).collect(),
        };
        let shape = contestants.first().map_or([0; 3], |contestant| {
            contestant.model().preprocessor().shape()
        });
        Ok(Self {
            kiln: kiln_util::VERSION,
            platform: kiln_util::platform(),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            model: ModelRecord {
                path: &args.model,
                bytes: std::fs::metadata(&args.model)?.len(),
            },
            input: InputRecord { shape, seed: SEED },
            callers: args.callers,
            engines: contestants.iter().map(engine).collect(),
        })
    }
}
