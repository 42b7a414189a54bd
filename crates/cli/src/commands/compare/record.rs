//! The comparison as it is written.

use std::path::{Path, PathBuf};

use kiln_metrics::{Latency, Paired};
use kiln_pipeline::bench::BenchTarget;
use kiln_pipeline::compare::Comparison;
use kiln_pipeline::runtime::RuntimeRecord;
use serde::Serialize;

use super::CompareArgs;
use super::differences::{self, DifferenceRecord};

/// The whole of it.
#[derive(Serialize)]
pub struct Record<'a> {
    kiln: &'static str,
    data: &'a str,
    images: u64,
    /// A and B.
    pub models: Vec<ModelRecord<'a>>,
    #[serde(flatten)]
    paired: Paired,
    agreement: f64,
    /// B's less A's.
    pub accuracy_change: f64,
    /// McNemar's exact test, two-sided.
    pub p_value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_drop: Option<f64>,
    /// Whether no more accuracy was lost than may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed: Option<bool>,
    pub differences: Vec<DifferenceRecord<'a>>,
}

#[derive(Serialize)]
pub struct ModelRecord<'a> {
    path: &'a Path,
    pub bytes: u64,
    runtime: &'a RuntimeRecord,
    accuracy: f64,
    loss: f64,
    load_ms: f64,
    /// On random images, one for each batch size.
    speed: Vec<Latency>,
}

impl<'a> Record<'a> {
    /// Collects what was measured.
    pub fn new(
        args: &'a CompareArgs,
        files: &'a [PathBuf; 2],
        targets: &'a [BenchTarget; 2],
        comparison: &'a Comparison,
    ) -> anyhow::Result<Self> {
        let models = targets.iter().zip(files).zip(&comparison.evaluations);
        let models = models.map(|((target, path), evaluation)| {
            Ok(ModelRecord {
                path,
                bytes: std::fs::metadata(path)?.len(),
                runtime: target.runtime(),
                accuracy: evaluation.accuracy,
                loss: evaluation.loss,
                load_ms: target.load_time().as_secs_f64() * 1e3,
                speed: target.latencies(),
            })
        });
        let paired = comparison.paired;
        let accuracy_change = comparison.accuracy_change();
        Ok(Self {
            kiln: kiln_util::VERSION,
            data: &args.data,
            images: paired.images(),
            models: models.collect::<anyhow::Result<_>>()?,
            paired,
            agreement: paired.agreement(),
            accuracy_change,
            p_value: paired.p_value(),
            max_drop: args.max_drop,
            passed: args.max_drop.map(|most| -accuracy_change <= most),
            differences: differences::records(comparison, targets[0].model().labels()),
        })
    }
}
