//! `kiln verify`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use kiln_inference::{Replay, Verification};
use kiln_pipeline::engines;
use kiln_pipeline::runtime::RuntimeRecord;
use kiln_util::shown;
use serde::Serialize;

use crate::app::App;
use crate::args::EnginesArgs;
use crate::notes;
use crate::outcome::Outcome;

#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// Model file, or run directory
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    #[command(flatten)]
    engines: EnginesArgs,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    model: String,
    passed: bool,
    engines: Vec<EngineRecord<'a>>,
}

#[derive(Serialize)]
struct EngineRecord<'a> {
    runtime: RuntimeRecord,
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

/// Replays the golden vectors of a file on every engine asked for, and prints what came of it.
pub fn run(args: &VerifyArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let context = &app.context;
    let file = engines::model_file(&args.model)?;
    let device = &args.engines.device;
    let wanted = engines::wanted(
        &args.engines.engine,
        device.device,
        device.ort_lib.as_deref(),
        context,
    )?;
    let model_file = engines::open(&file)?;
    let mut verified = Vec::with_capacity(wanted.len());
    for engine in wanted {
        let model = engines::load(&model_file, &device.request(engine), context)?;
        let verification = engines::verify(&file, &model)?;
        let runtime = RuntimeRecord::from(model.runtime());
        notes::fallback(&runtime, app.terminal);
        verified.push((runtime, verification));
    }
    let passed = verified
        .iter()
        .all(|(_, verification)| verification.passed());
    app.terminal.print(&if args.json {
        json(&file, &verified)?
    } else {
        lines(&verified)?
    })?;
    Ok(if passed {
        Outcome::Done
    } else {
        Outcome::CheckFailed
    })
}

/// `tract 0.23 (cpu): 10 golden vectors, largest difference 2.1e-6 (allowed 1.0e-4): passed`.
fn lines(verified: &[(RuntimeRecord, Verification)]) -> anyhow::Result<String> {
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

fn json(file: &Path, verified: &[(RuntimeRecord, Verification)]) -> anyhow::Result<String> {
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
        model: file.display().to_string(),
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
