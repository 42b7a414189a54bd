//! `kiln doctor`: what this machine can do, what is missing, and how to get it.

mod cache;
mod engines;
mod files;
mod finding;
mod gpu;
mod machine;
mod training;

use super::Context;
use crate::Outcome;
use crate::args::DoctorArgs;
use finding::{Report, Section, State};

pub fn run(args: &DoctorArgs, context: &Context<'_>) -> anyhow::Result<Outcome> {
    let cache = &context.assets.cache;
    let sections = vec![
        Section::new("Engines", engines::findings(cache)),
        Section::new("Training", training::findings()),
        Section::new("Graphics processor", gpu::findings()),
        Section::new("Machine", machine::findings()),
        Section::new("Cache", cache::findings(cache)),
    ];
    let report = Report::new(sections);
    let text = if args.json {
        serde_json::to_string_pretty(&report)? + "\n"
    } else {
        report.text()
    };
    context.terminal.print(&text)?;
    Ok(if report.worst() == State::Broken {
        Outcome::CheckFailed
    } else {
        Outcome::Done
    })
}
