//! `kiln verify`.

use std::fmt::Write;

use kiln_inference::{Model, Replay, Verification};
use kiln_util::shown;
use serde::Serialize;

use super::Context;
use crate::Outcome;
use crate::args::{EngineArgs, VerifyArgs};
use crate::declare::DeclarationArgs;
use crate::engines;
use crate::receipt::ReceiptRecord;

#[derive(Serialize)]
struct Report<'a> {
    model: String,
    passed: bool,
    engines: Vec<EngineRecord<'a>>,
}

#[derive(Serialize)]
struct EngineRecord<'a> {
    runtime: ReceiptRecord,
    passed: bool,
    /// What computed the expected scores.
    computed_by: &'a str,
    vectors: Vec<VectorRecord<'a>>,
}

#[derive(Serialize)]
struct VectorRecord<'a> {
    source: &'a str,
    passed: bool,
    /// None where the engine gave a score that is no number.
    difference: Option<f64>,
    tolerance: f64,
    label: &'a str,
    named: &'a str,
}

pub fn run(args: &VerifyArgs, context: &Context<'_>) -> anyhow::Result<Outcome> {
    let file = engines::open(&args.model)?;
    let mut verified = Vec::new();
    for engine in engines::wanted(&args.engines, &context.assets.cache)? {
        let (place, declared) = (args.engines.place.clone(), DeclarationArgs::default());
        let engine = EngineArgs {
            engine,
            place,
            concurrent_runs: None,
            declared,
        };
        let model = engines::load(&file, &engine, context.threads, &context.assets.cache)?;
        let verification = verify(&model, args)?;
        if let Some(fallback) = &model.runtime().fallback {
            context
                .terminal
                .status("Falling back", &format!("to the CPU: {fallback}"));
        }
        verified.push((ReceiptRecord::from(model.runtime()), verification));
    }
    let passed = verified
        .iter()
        .all(|(_, verification)| verification.passed());
    context.terminal.print(&if args.json {
        json(args, &verified)?
    } else {
        lines(&verified)?
    })?;
    Ok(if passed {
        Outcome::Done
    } else {
        Outcome::CheckFailed
    })
}

fn verify(model: &Model, args: &VerifyArgs) -> anyhow::Result<Verification> {
    model.verify().map_err(|reason| {
        let message = format!("cannot verify `{}`: {reason}", args.model.display());
        anyhow::Error::new(reason).context(message)
    })
}

/// `tract 0.23 (cpu): 10 golden vectors, largest difference 2.1e-6 (allowed 1.0e-4): passed`.
fn lines(verified: &[(ReceiptRecord, Verification)]) -> anyhow::Result<String> {
    let mut text = String::new();
    for (runtime, verification) in verified {
        let verdict = if verification.passed() {
            "passed"
        } else {
            "FAILED"
        };
        // Labels and the images' origins are the file's.
        writeln!(
            text,
            "{}: {}: {verdict}",
            runtime.describe(),
            shown(&verification.to_string(), usize::MAX)
        )?;
    }
    Ok(text)
}

fn json(args: &VerifyArgs, verified: &[(ReceiptRecord, Verification)]) -> anyhow::Result<String> {
    let engines = verified.iter().map(|(runtime, verification)| EngineRecord {
        runtime: runtime.clone(),
        passed: verification.passed(),
        computed_by: &verification.computed_by,
        vectors: verification.replays.iter().map(record).collect(),
    });
    let passed = verified
        .iter()
        .all(|(_, verification)| verification.passed());
    let report = Report {
        model: args.model.display().to_string(),
        passed,
        engines: engines.collect(),
    };
    Ok(format!("{}\n", serde_json::to_string_pretty(&report)?))
}

fn record(replay: &Replay) -> VectorRecord<'_> {
    VectorRecord {
        source: &replay.source,
        passed: replay.passed(),
        difference: Some(replay.difference).filter(|difference| difference.is_finite()),
        tolerance: replay.tolerance,
        label: &replay.label,
        named: &replay.named,
    }
}
