//! `kiln verify`.

use std::path::PathBuf;

use kiln_inference::ModelFile;
use kiln_pipeline::agreement::{agreement_text, compare_engines};
use kiln_pipeline::engines::{self, EngineRequest, VerificationRecord, verification_text};
use kiln_pipeline::runtime::RuntimeRecord;

use crate::app::{App, Outcome};
use crate::args::EnginesArgs;
use crate::hints::absent_engines;
use crate::{notes, output};

#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// Model file, run directory, or name of a network
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    #[command(flatten)]
    wanted: EnginesArgs,
    /// Compare the engines with each other on random images, which takes no golden vectors, and find the
    /// first node at which they part
    #[arg(long)]
    engines: bool,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

/// Compares every engine with the first one on random images, and prints what came of it.
fn agree(
    args: &VerifyArgs,
    file: &ModelFile,
    requests: &[EngineRequest],
    app: &App<'_>,
) -> anyhow::Result<Outcome> {
    let [first, others @ ..] = requests else {
        anyhow::bail!("no engine is present");
    };
    anyhow::ensure!(
        !others.is_empty(),
        "there is only {}, and nothing to compare it with{}",
        first.engine.title(),
        if args.wanted.engine.is_empty() {
            absent_engines(&[first.engine.title()])
        } else {
            " (give --engine for each, or leave it out)"
        }
    );
    let compared = others
        .iter()
        .map(|other| compare_engines(file, [first, other], &app.context));
    let compared = compared.collect::<kiln_pipeline::Result<Vec<_>>>()?;
    let text = || Ok(compared.iter().map(agreement_text).collect());
    output::print(args.json, &compared, text, app.terminal)?;
    Ok(if compared.iter().all(|found| found.passed) {
        Outcome::Done
    } else {
        Outcome::CheckFailed
    })
}

/// Replays the golden vectors of a file on every engine asked for, and prints what came of it.
pub fn run(args: &VerifyArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let context = &app.context;
    let file = engines::model_file(&args.model, context)?;
    let device = &args.wanted.device;
    let wanted = args.wanted.wanted(context)?;
    let model_file = engines::open(&file)?;
    if args.engines {
        let requests: Vec<_> = wanted
            .iter()
            .map(|engine| device.request(*engine))
            .collect();
        return agree(args, &model_file, &requests, app);
    }
    let mut verified = Vec::with_capacity(wanted.len());
    for engine in wanted {
        let model = engines::load(&model_file, &device.request(engine), context)?;
        let verification = engines::verify(&file, &model, context)?;
        let runtime = RuntimeRecord::from(&model);
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
