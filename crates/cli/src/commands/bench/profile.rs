//! `kiln bench --profile`: where the time of a graph goes.

use std::fmt::Write;
use std::path::Path;

use kiln_inference::ModelFile;
use kiln_pipeline::bench::{BenchTarget, ProfileRecord};
use kiln_report::text_table;
use kiln_util::{bytes, counted, percent};

use crate::output;
use crate::terminal::Terminal;

/// Runs that are made where no number is given; the fastest counts.
const RUNS: u32 = 20;

/// Profiles a model on the first of its engines that tells, and prints the table, or writes it as JSON.
pub fn run(
    file: &ModelFile,
    targets: &[BenchTarget],
    images: u32,
    runs: Option<u32>,
    json: Option<&Path>,
    terminal: &Terminal,
) -> anyhow::Result<Option<String>> {
    let measure = |target| {
        let runs = runs.unwrap_or(RUNS) as usize;
        ProfileRecord::measure(file, target, images as usize, runs)
    };
    // Of several engines, one that does not tell is no error.
    let mut found = targets.iter().map(measure).collect::<Vec<_>>();
    let told = found.iter().position(Result::is_ok).unwrap_or(0);
    let record = found.swap_remove(told)?;
    if let Some(path) = json {
        output::write_json(path, &record, terminal)?;
        if path == Path::new("-") {
            return Ok(None);
        }
    }
    table(&record).map(Some)
}

fn table(record: &ProfileRecord<'_>) -> anyhow::Result<String> {
    let mut text = String::new();
    writeln!(
        text,
        "{}, {}, on {}",
        record.model.path.display(),
        bytes(record.model.bytes),
        record.runtime.line()
    )?;
    writeln!(
        text,
        "{:.3} ms for {} on {}",
        record.ms,
        counted(record.images as u64, "image"),
        counted(record.threads as u64, "thread"),
    )?;
    writeln!(
        text,
        "at most {:.0} GFLOP/s, {:.1} GB/s from memory\n",
        record.peak_gflops, record.peak_gb_per_s
    )?;
    let share = |ms: f64| percent(ms / record.ms);
    let header = [
        "step",
        "bound by",
        "ms",
        "share",
        "GFLOP/s",
        "GB/s",
        "of the roofline",
    ];
    let rows = record.steps.iter().map(|step| {
        [
            step.step.clone(),
            step.bound.as_str().to_owned(),
            format!("{:.3}", step.ms),
            share(step.ms),
            step.gflops
                .map_or_else(String::new, |rate| format!("{rate:.0}")),
            format!("{:.1}", step.gb_per_s),
            format!("{:.2}", step.of_roofline),
        ]
    });
    let rest = [
        "the engine's own".to_owned(),
        String::new(),
        format!("{:.3}", record.rest_ms()),
        share(record.rest_ms()),
        String::new(),
        String::new(),
        String::new(),
    ];
    writeln!(text, "{}", text_table(header, rows.chain([rest]), 2))?;
    if record.steps.iter().any(|step| step.of_roofline > 1.0) {
        writeln!(
            text,
            "\nmore than 1: still in the cache, or computed by fewer multiplications than the definition has, which are counted"
        )?;
    }
    Ok(text)
}
