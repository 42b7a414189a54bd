//! `kiln eval`.

mod measure;

use std::path::Path;

use anyhow::bail;
use kiln_eval::{classification_report, confusion_table, text_table};

use super::Context;
use crate::args::EvalArgs;
use crate::inputs::{self, Inputs};
use crate::output::{self, Outputs};
use crate::predictions::{Columns, Origin, PredictionsFile, Row};
use crate::receipt::ReceiptRecord;
use crate::terminal::{percent, thousands};
use crate::{Outcome, declare, engines};
pub use measure::{Measured, MeasuredRecord, Tally, measure};

pub fn run(args: &EvalArgs, context: &Context<'_>) -> anyhow::Result<Outcome> {
    let outputs = Outputs::check([("--json", &args.json), ("--predictions", &args.batch.predictions)])?;
    let file_of_predictions = args.batch.predictions.as_ref().filter(|path| !output::is_stdout(path));
    if args.batch.resume && file_of_predictions.is_none() {
        bail!("--resume goes on with a file: give --predictions one in place of `-`");
    }
    let model = engines::load(&args.model, &args.engine, context.threads, &context.assets.cache)?;
    declare::note_numbers(&model, context.terminal);
    let classes = model.labels();
    let mut inputs = inputs::labelled(&args.data, classes, context)?.shard(args.batch.shard);
    engines::announce(&ReceiptRecord::from(model.receipt()), context.terminal);
    let mut tally = Tally::new(classes, args.top_k, args.mistakes)?;
    let mut file = None;
    if let Some(path) = &args.batch.predictions {
        let opened = predictions(args, path, inputs, &mut tally, context)?;
        inputs = opened.1;
        file = Some(opened.0);
    }
    let batch_size = args.batch.batch_size.map(|size| size as usize);
    let measured = measure(&model, inputs, batch_size, tally, context, |input, classified| {
        if let Some(file) = &mut file {
            file.write(&Row::new(input, classified, classes))?;
        }
        Ok(())
    });
    // Also what was done before an error.
    file.as_mut().map_or(Ok(()), PredictionsFile::finish)?;
    let Some(measured) = measured? else {
        let left = match file_of_predictions {
            Some(path) => format!(": `--resume` goes on with {}", path.display()),
            None => ": there are no figures".to_owned(),
        };
        context.terminal.status("Stopped", &format!("before all images were evaluated{left}"));
        return Ok(Outcome::Interrupted);
    };
    if let Some(path) = &args.json {
        output::write_json(path, &measured.record(&args.data), context.terminal)?;
    }
    if !outputs.take_stdout() {
        context.terminal.print(&report(&measured, classes)?)?;
    }
    Ok(Outcome::Done)
}

/// The file of predictions, and the images that are not in it yet.
fn predictions(
    args: &EvalArgs,
    path: &Path,
    inputs: Inputs,
    tally: &mut Tally<'_>,
    context: &Context<'_>,
) -> anyhow::Result<(PredictionsFile, Inputs)> {
    let columns = Columns::of(&inputs, tally.classes());
    let shard = args.batch.shard.map(|shard| shard.to_string());
    let origin = Origin::new(&args.model, &args.data, shard, columns)?;
    let (file, kept) = PredictionsFile::open(path, &origin, args.batch.resume, &mut |row| tally.resume(row))?;
    let Some((last, name)) = &kept.last else { return Ok((file, inputs)) };
    context
        .terminal
        .status("Resuming", &format!("behind {} images of {}", thousands(kept.lines as usize), path.display()));
    Ok((file, inputs.skip_to(*last, name.as_deref())?))
}

fn report(measured: &Measured, classes: &[String]) -> anyhow::Result<String> {
    let evaluation = &measured.evaluation;
    let calibration =
        evaluation.calibration.as_ref().map_or(String::new(), |c| format!(", calibration error {:.4}", c.ece));
    Ok(format!(
        "{}\n\n{}\n{}\naccuracy {} ({} of {} images), loss {:.4}{calibration}, {} images/s ({} in the model)\n",
        classification_report(evaluation).trim_end(),
        confusion_table(&evaluation.confusion, classes)?.trim_end(),
        mistakes(measured),
        percent(evaluation.accuracy),
        thousands(evaluation.confusion.correct() as usize),
        thousands(evaluation.images as usize),
        evaluation.loss,
        thousands(measured.images_per_second().round() as usize),
        thousands(measured.model_images_per_second().round() as usize),
    ))
}

/// A table of the surest mistakes between empty lines; nothing where there are none.
fn mistakes(measured: &Measured) -> String {
    if measured.mistakes.is_empty() {
        return String::new();
    }
    let rows = measured.mistakes.iter().map(|mistake| {
        let name = mistake.path.clone().unwrap_or_else(|| format!("image {}", mistake.index));
        let probability = percent(mistake.probability.into());
        [name, mistake.label.clone(), mistake.predicted.clone(), probability]
    });
    let header = [
        format!("surest of {} mistakes", thousands(measured.wrong as usize)),
        "true".into(),
        "predicted".into(),
        "probability".into(),
    ];
    format!("\n{}\n", text_table(header, rows, 3).trim_end())
}
