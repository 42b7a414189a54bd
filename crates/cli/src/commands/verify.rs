//! `kiln verify`.

use std::path::PathBuf;

use kiln_pipeline::engines::{self, VerificationRecord, verification_text};
use kiln_pipeline::runtime::RuntimeRecord;

use crate::app::{App, Outcome};
use crate::args::EnginesArgs;
use crate::{notes, output};

#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// Model file, run directory, or name of a network
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    #[command(flatten)]
    engines: EnginesArgs,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

/// Replays the golden vectors of a file on every engine asked for, and prints what came of it.
pub fn run(args: &VerifyArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let context = &app.context;
    let file = engines::model_file(&args.model, context)?;
    let device = &args.engines.device;
    let wanted = args.engines.wanted(context)?;
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
    let record = VerificationRecord::new(&file, &verified);
    output::print(
        args.json,
        &record,
        || Ok(verification_text(&verified)),
        app.terminal,
    )?;
    Ok(if passed {
        Outcome::Done
    } else {
        Outcome::CheckFailed
    })
}
