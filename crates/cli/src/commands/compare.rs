//! `kiln compare`: whether one model may replace another.

mod differences;
mod pass;
mod prepared;
mod record;

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use kiln_metrics::Latency;
use kiln_report::text_table;

use super::Context;
use crate::args::CompareArgs;
use crate::interrupt::{self, Polling};
use crate::output::{self, Outputs};
use crate::speed::{self, Contestant, Length, Plan};
use crate::terminal::bytes;
use crate::{Outcome, declare, engines, inputs};
use kiln_util::{counted, percent, thousands};
use pass::Pass;
use record::Record;

/// How long the runs of each model take together at a batch size.
const MEASURED: Length = Length::Time(Duration::from_secs(1));

pub fn run(args: &CompareArgs, context: &Context<'_>) -> anyhow::Result<Outcome> {
    let files = |model: &Path| declare::files(model, &args.engine.declared);
    let read = [
        files(&args.first),
        files(&args.second),
        vec![args.data.as_str().into()],
    ]
    .concat();
    let outputs = Outputs::check([("--json", args.json.as_deref())], &read)?;
    let load = |title: &str, path: &Path| {
        Contestant::load(title.into(), &engines::open(path)?, &args.engine, context)
    };
    let mut contestants = [load("A", &args.first)?, load("B", &args.second)?];
    let [a, b] = &contestants;
    same_labels(args, a.model().labels(), b.model().labels())?;
    engines::announce(a.receipt(), context.terminal);
    let inputs = inputs::labelled(&args.data, a.model().labels(), context)?;
    let _polling = Polling::begin();
    let pass = Pass::run(
        [a.model(), b.model()],
        inputs,
        args.batch_size as usize,
        context,
    )?;
    let mut batch_sizes = vec![1, args.batch_size as usize];
    batch_sizes.dedup();
    for batch_size in batch_sizes {
        let plan = Plan {
            batch_size,
            callers: 1,
            length: MEASURED,
        };
        speed::measure(&mut contestants, &plan, context.terminal)?;
    }
    let (Some(pass), false) = (pass, interrupt::requested()) else {
        context.terminal.status(
            "Stopped",
            "before the models were compared: nothing was written",
        );
        return Ok(Outcome::Interrupted);
    };
    let record = Record::new(args, &contestants, &pass)?;
    if let Some(path) = &args.json {
        output::write_json(path, &record, context.terminal)?;
    }
    if !outputs.take_stdout() {
        context
            .terminal
            .print(&report(args, &contestants, &pass, &record)?)?;
    }
    Ok(if record.passed == Some(false) {
        Outcome::CheckFailed
    } else {
        Outcome::Done
    })
}

/// The same classes in the same order, or the first difference.
fn same_labels(args: &CompareArgs, first: &[String], second: &[String]) -> anyhow::Result<()> {
    let (a, b) = (args.first.display(), args.second.display());
    if let Some(at) = first
        .iter()
        .zip(second)
        .position(|(first, second)| first != second)
    {
        bail!(
            "class {at} of {a} is `{}`, that of {b} `{}`: compare models with the same classes in the same order",
            first[at],
            second[at]
        );
    }
    if first.len() != second.len() {
        bail!(
            "{a} has {}, {b} has {}: compare models with the same classes in the same order",
            counted(first.len() as u64, "class"),
            second.len()
        );
    }
    Ok(())
}

fn report(
    args: &CompareArgs,
    both: &[Contestant; 2],
    pass: &Pass,
    record: &Record<'_>,
) -> anyhow::Result<String> {
    let mut text = String::new();
    writeln!(text, "{}\n", both[0].receipt().line())?;
    let paths = [&args.first, &args.second];
    let at = |contestant: &Contestant, batch: u64| {
        let found = contestant
            .latencies()
            .into_iter()
            .find(|latency: &Latency| latency.batch == batch);
        found.map_or(String::new(), |latency| {
            thousands(latency.images_per_second.round() as usize)
        })
    };
    let rows = both
        .iter()
        .zip(paths)
        .zip(&record.models)
        .zip(&pass.evaluations);
    let rows = rows.map(|(((contestant, path), model), evaluation)| {
        [
            format!("{} {}", contestant.title, path.display()),
            percent(evaluation.accuracy),
            format!("{:.4}", evaluation.loss),
            bytes(model.bytes),
            at(contestant, 1),
            at(contestant, u64::from(args.batch_size)),
        ]
    });
    let largest = format!("at {}", args.batch_size);
    let header = ["", "accuracy", "loss", "file", "images/s at 1", &largest];
    writeln!(text, "{}\n", text_table(header, rows, 1))?;
    let paired = &pass.paired;
    let count = |n: u64| thousands(n as usize);
    writeln!(
        text,
        "{} images: both right {}, only A {}, only B {}, both wrong {}; the same class for {}",
        count(paired.images()),
        count(paired.both_right),
        count(paired.only_first),
        count(paired.only_second),
        count(paired.both_wrong),
        percent(paired.agreement()),
    )?;
    writeln!(
        text,
        "B's accuracy less A's: {:+.2} points; McNemar's exact test of equal accuracy: {}",
        record.accuracy_change * 100.0,
        if record.p_value < 0.001 {
            "p < 0.001".to_owned()
        } else {
            format!("p = {:.3}", record.p_value)
        }
    )?;
    if let (Some(passed), Some(most)) = (record.passed, args.max_drop) {
        let verdict = if passed { "passed" } else { "FAILED" };
        writeln!(
            text,
            "{verdict}: at most {:.2} points may be lost",
            most * 100.0
        )?;
    }
    text += &differences::table(&record.differences, args.show);
    Ok(text)
}
