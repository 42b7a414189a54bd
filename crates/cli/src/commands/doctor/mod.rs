//! `kiln doctor`: what this machine can do, what is missing or broken, and how to fix it.

mod cache;
mod engines;
mod files;
mod finding;
mod gpu;
mod machine;
mod training;

use crate::app::App;
use crate::outcome::Outcome;
use finding::{Report, Section, State};

#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Prints the findings.
pub fn run(args: &DoctorArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let sections = vec![
        Section::new("Engines", engines::findings(app)),
        Section::new("Training", training::findings()),
        Section::new("GPU", gpu::findings()),
        Section::new("Machine", machine::findings()),
        Section::new("Cache", cache::findings(app.assets.cache())),
    ];
    let report = Report::new(sections);
    let text = if args.json {
        serde_json::to_string_pretty(&report)? + "\n"
    } else {
        report.text()
    };
    app.terminal.print(&text)?;
    Ok(if report.worst() == State::Broken {
        Outcome::CheckFailed
    } else {
        Outcome::Done
    })
}
