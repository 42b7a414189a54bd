//! What the steps of a graph cost, as it is written.

use std::path::Path;

use kiln_inference::{ModelFile, Profile, StepCost};
use serde::Serialize;

use super::{BenchTarget, ModelRecord};
use crate::error::Result;
use crate::runtime::RuntimeRecord;

/// What the steps of a model's graph cost on one engine, beside what the machine can do.
#[derive(Debug, Serialize)]
pub struct ProfileRecord<'a> {
    kiln: &'static str,
    platform: String,
    /// The model's file.
    pub model: ModelRecord<'a>,
    /// What it ran on.
    pub runtime: &'a RuntimeRecord,
    /// Images of the run.
    pub images: usize,
    /// Threads that computed.
    pub threads: usize,
    /// Milliseconds of the fastest run.
    pub ms: f64,
    /// Most multiplications and additions in a second, in milliards, measured in the same minute.
    pub peak_gflops: f64,
    /// Most bytes read from memory in a second, in milliards, measured likewise.
    pub peak_gb_per_s: f64,
    /// The steps in their order; what is left of the time is the engine's own.
    pub steps: Vec<StepRecord>,
}

/// What one step costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepRecord {
    /// What it computes.
    pub step: String,
    /// Its milliseconds.
    pub ms: f64,
    /// Multiplications and additions in a second, in milliards; none of what is no product.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gflops: Option<f64>,
    /// Bytes taken and made in a second, in milliards.
    pub gb_per_s: f64,
    /// Share of the roofline that it reaches; of what is still in the cache, or takes fewer multiplications, it can be more
    /// than 1.
    pub of_roofline: f64,
    /// Which of the two lines it is under.
    pub bound: Bound,
}

/// What bounds a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Its multiplications.
    Compute,
    /// What it reads and writes.
    Memory,
}

impl Bound {
    /// The word in results.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Memory => "memory",
        }
    }
}

impl<'a> ProfileRecord<'a> {
    /// Runs a model so many times on a batch, or on as many images of it as the engine takes at once.
    ///
    /// # Errors
    ///
    /// If the engine does not tell what steps cost, or fails.
    pub fn measure(
        file: &'a ModelFile,
        target: &'a BenchTarget,
        images: usize,
        runs: usize,
    ) -> Result<Self> {
        let profile = target.model().profile(images, runs)?;
        let step = |cost: &StepCost| step(&profile, cost);
        Ok(Self {
            kiln: kiln_util::VERSION,
            platform: kiln_util::platform(),
            model: ModelRecord {
                path: file.path().unwrap_or(Path::new("")),
                bytes: file.total_bytes(),
            },
            runtime: target.runtime(),
            images: profile.images,
            threads: profile.threads,
            ms: profile.seconds * 1e3,
            peak_gflops: 2e-9 * profile.peak_multiply_adds,
            peak_gb_per_s: 1e-9 * profile.peak_bytes,
            steps: profile.steps.iter().map(step).collect(),
        })
    }

    /// Returns the milliseconds that are no step's.
    pub fn rest_ms(&self) -> f64 {
        (self.ms - self.steps.iter().map(|step| step.ms).sum::<f64>()).max(0.0)
    }
}

fn step(profile: &Profile, cost: &StepCost) -> StepRecord {
    StepRecord {
        step: cost.step.clone(),
        ms: cost.seconds * 1e3,
        gflops: (cost.multiply_adds > 0).then(|| 2e-9 * cost.multiply_adds as f64 / cost.seconds),
        gb_per_s: 1e-9 * cost.bytes as f64 / cost.seconds,
        of_roofline: profile.share_of_roofline(cost),
        bound: if profile.is_bound_by_memory(cost) {
            Bound::Memory
        } else {
            Bound::Compute
        },
    }
}
