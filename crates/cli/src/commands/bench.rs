//! `kiln bench`: latency and throughput by engine and batch size.

mod record;

use std::fmt::Write;

use kiln_inference::{EngineChoice, Preprocess};
use kiln_metrics::Latency;
use kiln_report::{Picture, Speed, plot_speed};

use super::Context;
use crate::args::{BenchArgs, EngineArgs};
use crate::declare::{DeclarationArgs, Declared};
use crate::interrupt::{self, Polling};
use crate::output::{self, Outputs};
use crate::speed::{self, Contestant, Plan};
use crate::terminal::bytes;
use crate::{Outcome, declare, engines, picture};
use kiln_util::thousands;
use record::Record;

pub fn run(args: &BenchArgs, context: &Context<'_>) -> anyhow::Result<Outcome> {
    let named = [
        ("--json", args.json.as_deref()),
        ("--plot", args.plot.as_deref()),
    ];
    let outputs = Outputs::check(named, &declare::files(&args.model, &args.declared))?;
    args.plot.iter().try_for_each(|path| picture::check(path))?;
    let declared = declared(args, context)?;
    let load = |engine: EngineChoice| {
        let engine_args = EngineArgs {
            declared: declared.clone(),
            ..args.engine_args(engine)
        };
        Contestant::load(
            engines::title(engine).into(),
            &args.model,
            &engine_args,
            context,
        )
    };
    let mut contestants = engines::wanted(&args.engines, &context.assets.cache)?
        .into_iter()
        .map(load)
        .collect::<anyhow::Result<Vec<_>>>()?;
    for contestant in &contestants {
        context.terminal.status(
            "Loaded",
            &format!(
                "{}, in {:.1} ms",
                contestant.receipt().line(),
                speed::ms(contestant.load)
            ),
        );
        if let Some(fallback) = contestant.receipt().fallback() {
            context
                .terminal
                .status("Falling back", &format!("to the CPU: {fallback}"));
        }
    }
    let mut batch_sizes = args.batch_size.clone();
    batch_sizes.sort_unstable();
    batch_sizes.dedup();
    let plan = |batch_size: u32| Plan {
        batch_size: batch_size as usize,
        callers: args.callers.into(),
        length: args.length(),
    };
    let _polling = Polling::begin();
    for batch_size in batch_sizes {
        speed::measure(&mut contestants, &plan(batch_size), context.terminal)?;
        if interrupt::requested() {
            context.terminal.status(
                "Stopped",
                "before all batch sizes were measured: nothing was written",
            );
            return Ok(Outcome::Interrupted);
        }
        for contestant in &contestants {
            let Some(Latency {
                p50_ms,
                images_per_second,
                ..
            }) = contestant.latencies().pop()
            else {
                continue;
            };
            let rate = thousands(images_per_second.round() as usize);
            let text = format!(
                "batch {batch_size} on {}: {p50_ms:.3} ms, {rate} images/s",
                contestant.title
            );
            context.terminal.status("Measured", &text);
        }
    }
    let record = Record::new(args, &contestants)?;
    if let Some(path) = &args.json {
        output::write_json(path, &record, context.terminal)?;
    }
    if let Some(path) = &args.plot {
        picture::write(path, &plot(&contestants)?)?;
    }
    if !outputs.take_stdout() {
        context.terminal.print(&report(&record, &contestants)?)?;
    }
    Ok(Outcome::Done)
}

/// What is said about the model. The values of pixels make no difference to its speed: where
/// nothing says what becomes of them, they stay what they are.
fn declared(args: &BenchArgs, context: &Context<'_>) -> anyhow::Result<DeclarationArgs> {
    let mut declared = args.declared.clone();
    if Declared::by_options(&args.model, &declared)?
        .declaration()
        .specifies_normalization()
    {
        return Ok(declared);
    }
    if declare::metadata(&args.model).is_some_and(|metadata| metadata.preprocessing.is_none()) {
        declared.preprocess = Some(Preprocess::Raw);
        context.terminal.status(
            "Note",
            "nothing says how images are prepared: the model gets values of 0 to 255",
        );
    }
    Ok(declared)
}

fn plot(contestants: &[Contestant]) -> anyhow::Result<Picture> {
    let names: Vec<_> = contestants
        .iter()
        .map(|contestant| contestant.receipt().describe())
        .collect();
    let latencies: Vec<_> = contestants.iter().map(Contestant::latencies).collect();
    let series: Vec<_> = names
        .iter()
        .zip(&latencies)
        .map(|(name, latencies)| Speed { name, latencies })
        .collect();
    Ok(plot_speed(&series)?)
}

/// What it ran on, how long it took to get going, and the table.
fn report(record: &Record<'_>, contestants: &[Contestant]) -> anyhow::Result<String> {
    let mut text = String::new();
    let (model, [channels, height, width]) = (&record.model, record.input.shape);
    writeln!(
        text,
        "{}, {}, images of {channels} x {height} x {width}",
        model.path.display(),
        bytes(model.bytes)
    )?;
    for contestant in contestants {
        writeln!(text, "{}", contestant.receipt().line())?;
    }
    if record.callers > 1 {
        writeln!(text, "{} callers at the same time", record.callers)?;
    }
    writeln!(text, "\nWarm-up in milliseconds, not in the table:")?;
    for contestant in contestants {
        writeln!(text, "{}: {}", contestant.title, contestant.warm_up())?;
    }
    let rows: Vec<_> = contestants
        .iter()
        .flat_map(|contestant| {
            contestant
                .latencies()
                .into_iter()
                .map(|latency| (&contestant.title, latency))
        })
        .collect();
    writeln!(text, "\n{}", speed::latency_table(&rows))?;
    Ok(text)
}
