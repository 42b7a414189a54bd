//! `kiln doctor`: what this machine can do, what is missing or broken, and how to fix it.

mod cache;
mod finding;
mod gpu;
mod machine;

use kiln_inference::{Availability, EngineId};
use kiln_pipeline::engines::options;
use kiln_trainer::{DeviceKind, TrainError, kernel_instructions};

use crate::app::{App, Outcome};
use crate::args::open_quietly;
use crate::hints::install;
use crate::output;
use finding::{Finding, Report, Section, State};

#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Prints the findings.
pub fn run(args: &DoctorArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let sections = vec![
        Section::new("Engines", engines(app)),
        Section::new("Training", training()),
        Section::new("GPU", gpu::findings()),
        Section::new("Machine", machine::findings()),
        Section::new("Cache", cache::findings(app.assets.cache())),
    ];
    let report = Report::new(sections);
    output::print(args.json, &report, || Ok(report.text()), app.terminal)?;
    Ok(if report.worst() == State::Broken {
        Outcome::CheckFailed
    } else {
        Outcome::Done
    })
}

/// The engines, and what they consist of.
fn engines(app: &App<'_>) -> Vec<Finding> {
    EngineId::all()
        .map(|engine| engine_finding(engine, app))
        .collect()
}

fn engine_finding(engine: EngineId, app: &App<'_>) -> Finding {
    let info = engine.info();
    let options = options(&app.context);
    let error = match info.probe(&options) {
        Ok(available) => return Finding::ok(engine.title(), found(&available, info.summary)),
        Err(error) => error,
    };
    let hint = error.hint();
    let install = hint.as_ref().and_then(install);
    let fix = install.map_or_else(
        || hint.map_or_else(String::new, |hint| hint.to_string()),
        str::to_owned,
    );
    if !info.is_configured(&options) {
        let message = error.to_string();
        let first = message.lines().next().unwrap_or_default();
        return Finding::missing(engine.title(), first.trim_end_matches("; tried"), fix);
    }
    let fix = match std::env::var("KILN_ORT_LIB") {
        Ok(named) if install.is_some() => {
            format!("`unset KILN_ORT_LIB` takes back {named}; then `{fix}`")
        }
        _ => fix,
    };
    Finding::broken(engine.title(), error.to_string(), fix)
}

/// `1.31.1, /lib/libonnxruntime.so` and more lines, or what it is where nothing had to be found.
fn found(available: &Availability, summary: &str) -> String {
    let version = available.version.as_deref().unwrap_or("of unknown version");
    if available.details.is_empty() {
        return format!("{version}, {summary}");
    }
    format!("{version}, {}", available.details.join("\n"))
}

/// The devices that training can be asked for.
fn training() -> Vec<Finding> {
    DeviceKind::ALL.map(device_finding).to_vec()
}

fn device_finding(kind: DeviceKind) -> Finding {
    match open_quietly(kind) {
        Ok(_) if kind == DeviceKind::Cpu => Finding::ok(
            kind.as_str(),
            format!("flex, with kiln's kernels for {}", kernel_instructions()),
        ),
        Ok(device) => Finding::ok(kind.as_str(), format!("works: {device}")),
        Err(TrainError::DeviceNotBuilt { .. }) => Finding::missing(
            kind.as_str(),
            "not part of this build",
            format!("cargo build --release -p kiln-cli --features {kind}"),
        ),
        Err(TrainError::DeviceUnusable { reason, .. }) => {
            Finding::missing(kind.as_str(), reason, "kiln train --device cpu")
        }
        Err(error) => Finding::missing(kind.as_str(), error.to_string(), "kiln train --device cpu"),
    }
}
