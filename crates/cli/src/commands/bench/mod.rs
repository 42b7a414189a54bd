//! `kiln bench`: latency and throughput by engine and batch size.

mod profile;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_inference::{ModelFile, Preprocess};
use kiln_metrics::Latency;
use kiln_pipeline::bench::{
    BenchLength, BenchPlan, BenchRecord, BenchTarget, Measurement, measure,
};
use kiln_pipeline::engines;
use kiln_pipeline::overrides::{OverridesRequest, Resolved};
use kiln_report::{MAX_LABEL, Picture, Speed, plot_speed, text_table};
use kiln_util::{bytes, counted, duration, shown, thousands};

use crate::app::{App, Outcome};
use crate::args::{EnginesArgs, OverridesArgs};
use crate::output::{self, Outputs};
use crate::terminal::Terminal;
use crate::{notes, picture};

#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// Model file, run directory, or name of a network
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    #[command(flatten)]
    engines: EnginesArgs,
    /// Images per batch, several separated by commas
    #[arg(
        long, value_name = "N,…", value_delimiter = ',', default_value = "1,8,32,128",
        value_parser = clap::value_parser!(u32).range(1..=65536)
    )]
    batch_size: Vec<u32>,
    /// How many seconds the runs of each engine at each batch size take together
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = seconds)]
    duration: f64,
    /// Number of runs of each engine at each batch size, in place of a duration
    #[arg(long, value_name = "N", conflicts_with = "duration", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: Option<u32>,
    /// Number of threads that call the model at the same time, as in a server
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    callers: u16,
    /// Maximum number of concurrent runs on ONNX Runtime, with its threads shared out among them;
    /// further callers wait [default: one for each caller, at most one for each thread]
    #[arg(long, alias = "parallel-runs", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrent_runs: Option<u16>,
    /// Print the figures as JSON in place of the table, or write them to a file
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
    /// Draw throughput and latency by batch size
    #[arg(long, value_name = "FILE.png|.svg")]
    plot: Option<PathBuf>,
    /// Print what each step of the graph costs instead, beside what this machine can do (tract; the smallest batch size, at
    /// most 8; the fastest of 20 runs, or of --runs)
    #[arg(long, conflicts_with_all = ["duration", "callers", "plot"])]
    profile: bool,
    #[command(flatten)]
    overrides: OverridesArgs,
}

impl BenchArgs {
    /// What is measured at a batch size.
    fn plan(&self, batch_size: u32) -> BenchPlan {
        let length = self.runs.map_or(
            BenchLength::Time(Duration::from_secs_f64(self.duration)),
            BenchLength::Runs,
        );
        BenchPlan::new(batch_size as usize, length).callers(self.callers.into())
    }

    /// Maximum number of concurrent runs on ONNX Runtime.
    fn concurrent_runs(&self) -> usize {
        let callers = usize::from(self.callers).min(rayon::current_num_threads());
        self.concurrent_runs.map_or(callers, usize::from)
    }
}

/// Measures a model on every engine asked for, and prints or writes the figures.
pub fn run(args: &BenchArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let (terminal, context) = (app.terminal, &app.context);
    let file = engines::model_file(&args.model, context)?;
    let named = [
        ("--json", args.json.as_deref()),
        ("--plot", args.plot.as_deref()),
    ];
    let outputs = Outputs::check(named, &args.overrides.files(&file))?;
    args.plot.iter().try_for_each(|path| picture::check(path))?;
    outputs.announce_replaced(terminal);
    let model_file = engines::open(&file)?;
    let overrides = overrides(&model_file, args.overrides.request(context)?, terminal)?;
    let device = &args.engines.device;
    let wanted = args.engines.wanted(context)?;
    let mut targets = Vec::with_capacity(wanted.len());
    for engine in wanted {
        let mut request = device.request(engine);
        request.concurrent_runs = Some(args.concurrent_runs());
        request.overrides = overrides.clone();
        let target = BenchTarget::load(engine.title(), &model_file, &request, context)?;
        terminal.status(
            "Loaded",
            &format!(
                "{}, in {:.1} ms",
                target.runtime().line(),
                ms(target.load_time())
            ),
        );
        notes::fallback(target.runtime(), terminal);
        targets.push(target);
    }
    let mut batch_sizes = args.batch_size.clone();
    batch_sizes.sort_unstable();
    batch_sizes.dedup();
    if args.profile {
        let (images, json) = (batch_sizes[0], args.json.as_deref());
        if let Some(text) = profile::run(&model_file, &targets, images, args.runs, json, terminal)?
        {
            terminal.print(&text)?;
        }
        return Ok(Outcome::Done);
    }
    if args.runs.is_none() {
        let seconds = args.duration * (targets.len() * batch_sizes.len()) as f64;
        let text = format!(
            "{} at {}, about {}",
            counted(targets.len() as u64, "engine"),
            counted(batch_sizes.len() as u64, "batch size"),
            duration(seconds)
        );
        terminal.status("Measuring", &text);
    }
    for batch_size in batch_sizes {
        if !measure(&mut targets, &args.plan(batch_size), context)? {
            terminal.status(
                "Stopped",
                "before all batch sizes were measured: nothing was written",
            );
            return Ok(Outcome::Interrupted);
        }
        for target in &targets {
            let Some(Latency {
                p50_ms,
                images_per_second,
                ..
            }) = target.latencies().pop()
            else {
                continue;
            };
            let rate = thousands(images_per_second.round() as usize);
            let text = format!(
                "batch {batch_size} on {}: {p50_ms:.3} ms, {rate} images/s",
                target.title()
            );
            terminal.status("Measured", &text);
        }
    }
    let record = BenchRecord::new(&model_file, args.callers, &targets);
    if let Some(path) = &args.json {
        output::write_json(path, &record, terminal)?;
    }
    if let Some(path) = &args.plot {
        picture::write(path, &plot(&targets)?)?;
    }
    if !outputs.take_stdout() {
        terminal.print(&report(&record, &targets)?)?;
    }
    Ok(Outcome::Done)
}

/// Returns what is specified about the model. The values of pixels make no difference to its speed:
/// where nothing specifies what becomes of them, they stay what they are.
fn overrides(
    file: &ModelFile,
    mut request: OverridesRequest,
    terminal: &Terminal,
) -> anyhow::Result<OverridesRequest> {
    let path = file.path().unwrap_or(Path::new(""));
    let resolved = Resolved::new(path, &request).map_err(kiln_pipeline::Error::from)?;
    if !resolved.all().specifies_normalization()
        && file
            .metadata()
            .is_some_and(|metadata| metadata.preprocessing.is_none())
    {
        request.specified.preprocess = Some(Preprocess::Raw);
        terminal.status(
            "Note",
            "preprocessing is not specified: the model gets raw pixel values (0–255)",
        );
    }
    Ok(request)
}

fn plot(targets: &[BenchTarget]) -> anyhow::Result<Picture> {
    let names: Vec<_> = targets
        .iter()
        .map(|target| target.runtime().describe())
        .collect();
    let latencies: Vec<_> = targets.iter().map(BenchTarget::latencies).collect();
    let series: Vec<_> = names
        .iter()
        .zip(&latencies)
        .map(|(name, latencies)| Speed { name, latencies })
        .collect();
    Ok(plot_speed(&series)?)
}

/// Writes what it ran on, how long it took to get going, and the table.
fn report(record: &BenchRecord<'_>, targets: &[BenchTarget]) -> anyhow::Result<String> {
    let mut text = String::new();
    let model = &record.model;
    let [channels, height, width] = record.input.shape;
    writeln!(
        text,
        "{}, {}, images of {channels} x {height} x {width}",
        model.path.display(),
        bytes(model.bytes)
    )?;
    for target in targets {
        writeln!(text, "{}", target.runtime().line())?;
    }
    if record.callers > 1 {
        writeln!(text, "{} callers at the same time", record.callers)?;
    }
    writeln!(text, "\nWarm-up in milliseconds, not in the table:")?;
    for target in targets {
        writeln!(text, "{}: {}", target.title(), warm_up(target))?;
    }
    let rows: Vec<_> = targets
        .iter()
        .flat_map(|target| {
            target
                .latencies()
                .into_iter()
                .map(|latency| (target.title(), latency))
        })
        .collect();
    writeln!(text, "\n{}", latency_table(&rows))?;
    Ok(text)
}

/// One line per named measurement: batch size, durations in milliseconds, images per second.
fn latency_table<S: AsRef<str>>(measurements: &[(S, Latency)]) -> String {
    let header = [
        "", "batch", "calls", "mean ms", "min", "p50", "p90", "p95", "p99", "max", "images/s",
    ];
    let rows = measurements.iter().map(|(name, l)| {
        let durations = [
            l.mean_ms, l.min_ms, l.p50_ms, l.p90_ms, l.p95_ms, l.p99_ms, l.max_ms,
        ];
        [
            shown(name.as_ref(), MAX_LABEL),
            thousands(l.batch as usize),
            thousands(l.calls as usize),
        ]
        .into_iter()
        .chain(durations.map(|ms| format!("{ms:.3}")))
        .chain([thousands(l.images_per_second.round() as usize)])
        .collect::<Vec<_>>()
    });
    text_table(header, rows, 1)
}

/// `loading 4.1; first run 5.2 at batch 1, 6.3 at batch 8`.
fn warm_up(target: &BenchTarget) -> String {
    let first = |m: &Measurement| format!("{:.1} at batch {}", ms(m.first), m.latency.batch);
    let firsts: Vec<_> = target.measurements().iter().map(first).collect();
    format!(
        "loading {:.1}; first run {}",
        ms(target.load_time()),
        firsts.join(", ")
    )
}

/// Returns a duration in milliseconds.
fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Reads a number of seconds, above 0 and at most an hour.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 3600.0 => Ok(seconds),
        _ => Err("expected a number of seconds above 0, at most 3600".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_measurement() {
        let of =
            |ms: u64, batch| Latency::from_durations(&[Duration::from_millis(ms)], batch).unwrap();
        let table = latency_table(&[("ort", of(2, 1)), ("tract", of(4, 128))]);
        let expected = "
         batch   calls   mean ms     min     p50     p90     p95     p99     max   images/s
────────────────────────────────────────────────────────────────────────────────────────────
 ort         1       1     2.000   2.000   2.000   2.000   2.000   2.000   2.000        500
 tract     128       1     4.000   4.000   4.000   4.000   4.000   4.000   4.000     32,000";
        assert_eq!(format!("\n{table}"), expected, "\n{table}");
    }
}
