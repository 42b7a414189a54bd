//! The comparison as it is written.

use std::path::Path;

use kiln_metrics::{Latency, Paired};
use serde::Serialize;

use super::differences::{self, Difference};
use super::pass::Pass;
use crate::args::CompareArgs;
use crate::receipt::ReceiptRecord;
use crate::speed::{Contestant, ms};

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
    pub differences: Vec<Difference<'a>>,
}

#[derive(Serialize)]
pub struct ModelRecord<'a> {
    path: &'a Path,
    pub bytes: u64,
    runtime: &'a ReceiptRecord,
    accuracy: f64,
    loss: f64,
    load_ms: f64,
    /// On random images, one for each batch size.
    speed: Vec<Latency>,
}

impl<'a> Record<'a> {
    pub fn new(
        args: &'a CompareArgs,
        both: &'a [Contestant; 2],
        pass: &'a Pass,
    ) -> anyhow::Result<Self> {
        let paths = [&args.first, &args.second];
        let models = both.iter().zip(paths).zip(&pass.evaluations).map(
            |((contestant, path), evaluation)| {
                Ok(ModelRecord {
                    path,
                    bytes: std::fs::metadata(path)?.len(),
                    runtime: contestant.receipt(),
                    accuracy: evaluation.accuracy,
                    loss: evaluation.loss,
                    load_ms: ms(contestant.load),
                    speed: contestant.latencies(),
                })
            },
        );
        let paired = pass.paired;
        // Of counts, so that nothing is lost to rounding where the difference is just what is
        // allowed.
        let change =
            (paired.only_second as f64 - paired.only_first as f64) / paired.images() as f64;
        Ok(Self {
            kiln: kiln_util::VERSION,
            data: &args.data,
            images: paired.images(),
            models: models.collect::<anyhow::Result<_>>()?,
            paired,
            agreement: paired.agreement(),
            accuracy_change: change,
            p_value: paired.p_value(),
            max_drop: args.max_drop,
            passed: args.max_drop.map(|most| -change <= most),
            differences: differences::sorted(pass, both[0].model().labels()),
        })
    }
}
