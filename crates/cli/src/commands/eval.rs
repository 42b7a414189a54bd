//! `kiln eval`.

mod measure;
pub mod predictions;

use std::path::{Path, PathBuf};

use anyhow::bail;
use kiln_data::View;
use kiln_eval::{classification_report, confusion_table};
use kiln_run::{check_writable, write_atomically};

use super::Context;
use crate::args::EvalArgs;
use crate::terminal::{percent, thousands};
use crate::{Outcome, dataset, declare, engines};
pub use measure::{Measured, MeasuredRecord, measure};
pub use predictions::Prediction;

pub fn run(args: &EvalArgs, context: &Context<'_>) -> anyhow::Result<Outcome> {
    let source = dataset::parse(&args.data)?;
    let is_stdout = |path: &&PathBuf| path.as_path() == Path::new("-");
    let outputs = || [&args.json, &args.predictions].into_iter().flatten();
    if outputs().filter(is_stdout).count() > 1 {
        bail!("--json and --predictions cannot both be `-`: write one of them to a file");
    }
    // Before the work, not after it.
    outputs().filter(|path| !is_stdout(path)).try_for_each(|path| check_writable(path))?;
    let model = engines::load(&args.model, &args.engine, context.threads, &context.assets.cache)?;
    declare::note_numbers(&model, context.terminal);
    let dataset = dataset::labelled(&source, model.labels(), context)?;
    let (view, classes) = (View::all(dataset), model.labels());
    if let Some(fallback) = &model.receipt().fallback {
        context.terminal.status("Falling back", &format!("to the CPU: {fallback}"));
    }
    let Some(measured) = measure(&model, &view, args.batch_size as usize, context)? else {
        context.terminal.status("Stopped", "before all images were evaluated: nothing was written");
        return Ok(Outcome::Interrupted);
    };
    if let Some(path) = &args.predictions {
        write(path, predictions::csv(&measured, &view, classes)?, context)?;
    }
    if let Some(path) = &args.json {
        let mut json = serde_json::to_vec_pretty(&measured.record(&args.data))?;
        json.push(b'\n');
        write(path, json, context)?;
    }
    if !outputs().any(|path| is_stdout(&path)) {
        context.terminal.print(&report(&measured, classes)?)?;
    }
    Ok(Outcome::Done)
}

/// To a file, or to standard output for `-`.
fn write(path: &Path, bytes: Vec<u8>, context: &Context<'_>) -> anyhow::Result<()> {
    if path == Path::new("-") {
        context.terminal.print(&String::from_utf8(bytes)?)?;
    } else {
        write_atomically(path, &bytes)?;
    }
    Ok(())
}

fn report(measured: &Measured, classes: &[String]) -> anyhow::Result<String> {
    let evaluation = &measured.evaluation;
    Ok(format!(
        "{}\n\n{}\n\naccuracy {} ({} of {} images), loss {:.4}, {} images/s ({} in the model)\n",
        classification_report(evaluation).trim_end(),
        confusion_table(&evaluation.confusion, classes)?.trim_end(),
        percent(evaluation.accuracy),
        thousands(evaluation.confusion.correct() as usize),
        thousands(evaluation.images as usize),
        evaluation.loss,
        thousands(measured.images_per_second().round() as usize),
        thousands(measured.model_images_per_second().round() as usize),
    ))
}
