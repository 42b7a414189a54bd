//! `kiln eval`.

mod measure;

use kiln_report::{MAX_LABEL, classification_report, confusion_table, text_table};
use kiln_util::shown;

use super::Context;
use crate::args::EvalArgs;
use crate::inputs;
use crate::output::{self, Outputs};
use crate::predictions::{self, ORIGIN, Origin, PredictionsFile, Row};
use crate::receipt::ReceiptRecord;
use crate::{Outcome, declare, engines, picture};
use kiln_util::{counted, percent, thousands};
pub use measure::{Measured, MeasuredRecord, Tally, measure};

pub fn run(args: &EvalArgs, context: &Context<'_>) -> anyhow::Result<Outcome> {
    let predictions = args.batch.predictions.as_deref();
    let inputs = [
        declare::files(&args.model, &args.engine.declared),
        vec![args.data.as_str().into()],
    ]
    .concat();
    let origin = Origin::beside(predictions);
    let outputs = Outputs::check(
        [
            ("--json", args.json.as_deref()),
            ("--predictions", predictions),
            (ORIGIN, origin.as_deref()),
        ],
        &inputs,
    )?;
    args.batch.check()?;
    args.pictures
        .as_deref()
        .map_or(Ok(()), picture::prepare_folder)?;
    let model = engines::load(
        &args.model,
        &args.engine,
        context.threads,
        &context.assets.cache,
    )?;
    declare::note_defaults(&model, context.terminal);
    let classes = model.labels();
    let mut inputs = inputs::labelled(&args.data, classes, context)?.shard(args.batch.shard);
    engines::announce(&ReceiptRecord::from(model.receipt()), context.terminal);
    if let Some(k) = args.top_k.filter(|&k| usize::from(k) >= classes.len()) {
        let classes = counted(classes.len() as u64, "class");
        let text = format!("top-{k} accuracy is left out: with {classes} it is always 1");
        context.terminal.status("Note", &text);
    }
    let mut tally = Tally::new(classes, args.top_k, args.mistakes)?;
    let mut file = None;
    if let Some(path) = &args.batch.predictions {
        let made_with = (args.model.as_path(), &model);
        let (opened, left) =
            predictions::begin(path, made_with, inputs, &args.batch, context, &mut |row| {
                tally.resume(row)
            })?;
        inputs = left;
        file = Some(opened);
    }
    let batch_size = args.batch.batch_size.map(|size| size as usize);
    let measured = measure(
        &model,
        inputs,
        batch_size,
        tally,
        context,
        |input, classified| {
            if let Some(file) = &mut file {
                file.write(&Row::new(input, classified, &model))?;
            }
            Ok(())
        },
    );
    // Also what was done before an error.
    file.as_mut().map_or(Ok(()), PredictionsFile::finish)?;
    let Some(measured) = measured? else {
        let left = match &args.batch.predictions {
            Some(path) if !output::is_stdout(path) => {
                format!(": `--resume` completes {}", path.display())
            }
            _ => ": there are no figures".to_owned(),
        };
        context.terminal.status(
            "Stopped",
            &format!("before all images were evaluated{left}"),
        );
        return Ok(Outcome::Interrupted);
    };
    if let Some(path) = &args.json {
        output::write_json(path, &measured.record(&args.data), context.terminal)?;
    }
    if let Some(folder) = &args.pictures {
        let figures = picture::evaluation(&measured.evaluation)?;
        let figures = figures
            .iter()
            .map(|figure| (figure.name.as_str(), &figure.picture));
        let written = picture::write_all(folder, figures)?;
        context.terminal.status(
            "Wrote",
            &format!("{} pictures to {}", written.len(), folder.display()),
        );
    }
    if !outputs.take_stdout() {
        context.terminal.print(&report(&measured, classes)?)?;
    }
    Ok(Outcome::Done)
}

fn report(measured: &Measured, classes: &[String]) -> anyhow::Result<String> {
    let evaluation = &measured.evaluation;
    let calibration = evaluation.calibration.as_ref().map_or(String::new(), |c| {
        format!(", calibration error {:.4}", c.ece)
    });
    Ok(format!(
        "{}\n\n{}\n{}\naccuracy {} ({} of {} images), loss {:.4}{calibration}{}\n",
        classification_report(evaluation).trim_end(),
        confusion_table(&evaluation.confusion, classes)?.trim_end(),
        mistakes(measured),
        percent(evaluation.accuracy),
        thousands(evaluation.confusion.correct() as usize),
        thousands(evaluation.images as usize),
        evaluation.loss,
        speed(measured),
    ))
}

/// How fast it was, behind a comma; nothing where all images had their predictions already.
fn speed(measured: &Measured) -> String {
    if measured.computed() == 0 {
        return String::new();
    }
    let rates = [
        measured.images_per_second(),
        measured.model_images_per_second(),
    ];
    let [all, model] = rates.map(|rate| thousands(rate.round() as usize));
    format!(", {all} images/s ({model} in the model)")
}

/// A table of the surest mistakes between empty lines; nothing where there are none.
fn mistakes(measured: &Measured) -> String {
    if measured.mistakes.is_empty() {
        return String::new();
    }
    let rows = measured.mistakes.iter().map(|mistake| {
        let name = mistake
            .path
            .clone()
            .unwrap_or_else(|| format!("image {}", mistake.index));
        let probability = percent(mistake.probability.into());
        [
            name,
            shown(&mistake.label, MAX_LABEL),
            shown(&mistake.predicted, MAX_LABEL),
            probability,
        ]
    });
    let header = [
        format!("surest of {} mistakes", thousands(measured.wrong as usize)),
        "true".into(),
        "predicted".into(),
        "probability".into(),
    ];
    format!("\n{}\n", text_table(header, rows, 3).trim_end())
}
