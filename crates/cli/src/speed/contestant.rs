//! A model on one engine, and what was measured of it.

use std::time::{Duration, Instant};

use kiln_inference::{Model, ModelFile};
use kiln_metrics::Latency;

use super::input::Input;
use crate::args::EngineArgs;
use crate::commands::Context;
use crate::engines;
use crate::receipt::ReceiptRecord;

/// What was measured at one batch size.
pub struct Measurement {
    /// The first run at this batch size: engines plan and allocate then.
    pub first: Duration,
    /// Those that count.
    pub latency: Latency,
}

/// A model on one engine, and what was measured of it.
pub struct Contestant {
    /// What it is called in tables.
    pub title: String,
    model: Model,
    receipt: ReceiptRecord,
    /// From the bytes of the file to a model that is ready.
    pub load: Duration,
    /// One for each batch size, in the order in which they were measured.
    pub measurements: Vec<Measurement>,
}

impl Contestant {
    /// Loads a model. Its file is read, and ONNX Runtime's library loaded, before the clock starts:
    /// once for all models of a process.
    pub fn load(
        title: String,
        file: &ModelFile,
        args: &EngineArgs,
        context: &Context<'_>,
    ) -> anyhow::Result<Self> {
        let cache = &context.assets.cache;
        engines::load_library(args, cache)?;
        let file = &file.undecoded();
        let start = Instant::now();
        let model = engines::load(file, args, context.threads, cache)?;
        let load = start.elapsed();
        let receipt = ReceiptRecord::from(model.runtime());
        Ok(Self {
            title,
            model,
            receipt,
            load,
            measurements: Vec::new(),
        })
    }

    /// One run, and how long it took.
    pub(super) fn run(&self, input: &Input) -> anyhow::Result<Duration> {
        let start = Instant::now();
        std::hint::black_box(self.model.run(&input.values, input.images)?);
        Ok(start.elapsed())
    }

    pub const fn model(&self) -> &Model {
        &self.model
    }

    pub const fn receipt(&self) -> &ReceiptRecord {
        &self.receipt
    }

    pub fn latencies(&self) -> Vec<Latency> {
        self.measurements
            .iter()
            .map(|measurement| measurement.latency)
            .collect()
    }

    /// `loading 4.1; first run 5.2 at batch 1, 6.3 at batch 8`.
    pub fn warm_up(&self) -> String {
        let first = |m: &Measurement| format!("{:.1} at batch {}", ms(m.first), m.latency.batch);
        let firsts: Vec<_> = self.measurements.iter().map(first).collect();
        format!(
            "loading {:.1}; first run {}",
            ms(self.load),
            firsts.join(", ")
        )
    }
}

/// A duration in milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
