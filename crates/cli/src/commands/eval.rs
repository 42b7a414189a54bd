//! `kiln eval`.

mod measure;
pub mod predictions;

use kiln_data::View;
use kiln_eval::{classification_report, confusion_table};

use super::Context;
use crate::args::EvalArgs;
use crate::output::{self, Outputs};
use crate::receipt::ReceiptRecord;
use crate::terminal::{percent, thousands};
use crate::{Outcome, dataset, declare, engines};
pub use measure::{Measured, MeasuredRecord, measure};
pub use predictions::Prediction;

pub fn run(args: &EvalArgs, context: &Context<'_>) -> anyhow::Result<Outcome> {
    let source = dataset::parse(&args.data)?;
    let outputs = Outputs::check([("--json", &args.json), ("--predictions", &args.predictions)])?;
    let model = engines::load(&args.model, &args.engine, context.threads, &context.assets.cache)?;
    declare::note_numbers(&model, context.terminal);
    let dataset = dataset::labelled(&source, model.labels(), context)?;
    let (view, classes) = (View::all(dataset), model.labels());
    engines::announce(&ReceiptRecord::from(model.receipt()), context.terminal);
    let Some(measured) = measure(&model, &view, args.batch_size as usize, context)? else {
        context.terminal.status("Stopped", "before all images were evaluated: nothing was written");
        return Ok(Outcome::Interrupted);
    };
    if let Some(path) = &args.predictions {
        output::write(path, predictions::csv(&measured, &view, classes)?, context.terminal)?;
    }
    if let Some(path) = &args.json {
        output::write_json(path, &measured.record(&args.data), context.terminal)?;
    }
    if !outputs.take_stdout() {
        context.terminal.print(&report(&measured, classes)?)?;
    }
    Ok(Outcome::Done)
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
