//! A replay of golden vectors, as it is written.

use std::path::Path;

use kiln_inference::{Replay, Verification};
use serde::Serialize;

use crate::runtime::RuntimeRecord;

/// A replay of a file's golden vectors on each engine.
#[derive(Debug, Serialize)]
pub struct VerificationRecord<'a> {
    model: String,
    passed: bool,
    engines: Vec<EngineRecord<'a>>,
}

#[derive(Debug, Serialize)]
struct EngineRecord<'a> {
    runtime: &'a RuntimeRecord,
    passed: bool,
    /// What computed the expected scores.
    computed_by: &'a str,
    vectors: Vec<VectorRecord<'a>>,
}

#[derive(Debug, Serialize)]
struct VectorRecord<'a> {
    source: &'a str,
    passed: bool,
    /// None if the engine computed a score that is not a number.
    difference: Option<f64>,
    tolerance: f64,
    label: &'a str,
    named: &'a str,
}

impl<'a> VerificationRecord<'a> {
    /// Collects the replays of a file.
    pub fn new(file: &Path, verified: &'a [(RuntimeRecord, Verification)]) -> Self {
        let engines = verified.iter().map(|(runtime, verification)| EngineRecord {
            runtime,
            passed: verification.passed(),
            computed_by: &verification.computed_by,
            vectors: verification.replays.iter().map(vector).collect(),
        });
        Self {
            model: file.display().to_string(),
            passed: verified
                .iter()
                .all(|(_, verification)| verification.passed()),
            engines: engines.collect(),
        }
    }
}

fn vector(replay: &Replay) -> VectorRecord<'_> {
    VectorRecord {
        source: &replay.source,
        passed: replay.passed(),
        difference: Some(replay.difference).filter(|difference| difference.is_finite()),
        tolerance: replay.tolerance,
        label: &replay.label,
        named: &replay.named,
    }
}
