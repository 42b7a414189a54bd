//! A model on one engine, and what was measured of it.

use std::time::{Duration, Instant};

use kiln_inference::{Model, ModelFile};
use kiln_metrics::Latency;

use super::input::Input;
use crate::context::Context;
use crate::engines::{self, EngineRequest};
use crate::error::Result;
use crate::runtime::RuntimeRecord;

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
    pub(super) measurements: Vec<Measurement>,
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
            runtime: RuntimeRecord::from(model.runtime()),
            model,
            load,
            measurements: Vec::new(),
        })
    }

    /// Runs a batch, and returns how long it took.
    pub(super) fn run(&self, input: &Input) -> Result<Duration> {
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
