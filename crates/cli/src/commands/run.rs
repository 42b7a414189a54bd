//! `kiln run`: train, export, verify, evaluate, report.

use std::fmt::Write;

use kiln_data::{Loader, Order, Samples, View};
use kiln_inference::{EngineChoice, Model, Options, Preprocessor};
use kiln_model::Recipe;
use kiln_report::{plot_confusion, text_table};
use kiln_run::{RunDir, RunFile};
use serde::Serialize;

use super::Context;
use super::eval::{Measured, MeasuredRecord, Tally, measure};
use super::export::{self, Trained};
use super::train::{self, Attempt};
use crate::args::RunArgs;
use crate::inputs::Inputs;
use crate::parity::{self, Parity};
use crate::predictions::{Columns, Format, Row, Writer};
use crate::record::RunRecord;
use crate::{Outcome, dataset, engines, golden, pages};
use kiln_util::{percent, thousands};

/// Images per batch when the engines are compared on all test images.
const PARITY_BATCH: usize = 64;

#[derive(Serialize)]
struct Report<'a> {
    run: &'a std::path::Path,
    parity: &'a Parity,
    evaluations: Vec<MeasuredRecord<'a>>,
}

pub fn run(args: &RunArgs, context: &Context<'_>) -> anyhow::Result<Outcome> {
    let attempt = train::train(&args.train, context)?;
    let Some(finished) = finish(attempt, context)? else {
        return Ok(Outcome::Interrupted);
    };
    let Finished {
        recipe,
        run,
        measured,
        parity,
    } = &finished;
    let output = if args.json {
        let data = dataset::test_name(recipe);
        let evaluations = measured
            .iter()
            .map(|(_, result)| result.record(&data))
            .collect();
        format!(
            "{}\n",
            serde_json::to_string_pretty(&Report {
                run: run.path(),
                parity,
                evaluations
            })?
        )
    } else {
        summary(recipe, run, measured, parity)?
    };
    context.terminal.print(&output)?;
    Ok(if parity.passed {
        Outcome::Done
    } else {
        Outcome::CheckFailed
    })
}

/// A recipe that went all the way; without figures if the implementations disagree.
pub struct Finished {
    pub recipe: Recipe,
    pub run: RunDir,
    pub measured: Vec<(&'static str, Measured)>,
    pub parity: Parity,
}

/// Exports, verifies, evaluates and reports what was trained; nothing if the user stopped it.
pub fn finish(attempt: Attempt, context: &Context<'_>) -> anyhow::Result<Option<Finished>> {
    let Attempt {
        recipe,
        run,
        outcome,
        lock: _lock,
    } = attempt;
    if outcome != Outcome::Done {
        return Ok(None);
    }
    let mut trained = Trained::open(&run, recipe, context)?;
    let images = dataset::test(&trained.recipe, context)?;
    if trained.recipe.export.golden {
        trained.golden = Some(golden::vectors(
            &trained,
            &images,
            &dataset::test_name(&trained.recipe),
        )?);
    }
    export::write(&trained, &run.file(RunFile::Model), context)?;
    let (models, mut parity) = verify(&trained, &run, &images, context)?;
    let (mut measured, mut predictions) = (Vec::new(), Vec::new());
    if parity.passed {
        let mut scores = Vec::new();
        for (engine, model) in &models {
            let name = engines::title(*engine);
            let Some(ran) = over(model, &images, context)? else {
                return Ok(None);
            };
            measured.push((name, ran.measured));
            scores.push((name, ran.scores));
            if predictions.is_empty() {
                predictions = ran.predictions;
            }
        }
        parity.comparisons.extend(parity::compare(
            &scores,
            PARITY_BATCH,
            trained.model.classes(),
            parity.tolerance,
        )?);
        parity.passed = parity
            .comparisons
            .iter()
            .all(|comparison| comparison.passed);
    }
    run.write_json(RunFile::Parity, &parity)?;
    for failure in parity.failures() {
        context.terminal.error(&failure);
    }
    let data = dataset::test_name(&trained.recipe);
    let evaluations: Vec<MeasuredRecord<'_>> = measured
        .iter()
        .map(|(_, result)| result.record(&data))
        .collect();
    if let Some((_, first)) = measured.first() {
        run.write_json(RunFile::Evaluation, &evaluations)?;
        let confusion = &first.evaluation.confusion;
        run.write(
            RunFile::Confusion,
            plot_confusion(confusion, &trained.labels, false)?
                .to_svg()
                .as_bytes(),
        )?;
        run.write(RunFile::Predictions, &predictions)?;
    }
    let page = pages::run(&RunRecord::read(run.clone())?, context)?;
    run.write(RunFile::Report, page.to_html().as_bytes())?;
    Ok(Some(Finished {
        recipe: trained.recipe,
        run,
        measured,
        parity,
    }))
}

/// What an engine made of the test images.
struct Ran {
    measured: Measured,
    /// What the graph gave, `[images, classes]` row-major.
    scores: Vec<f32>,
    /// One line per image, as CSV.
    predictions: Vec<u8>,
}

/// Runs a model over the test images; nothing if the user stopped it.
fn over(model: &Model, images: &View, context: &Context<'_>) -> anyhow::Result<Option<Ran>> {
    let (inputs, classes) = (Inputs::of_view(images), model.labels());
    let (mut scores, mut predictions) = (Vec::new(), Vec::new());
    let mut lines = Writer::new(
        &mut predictions,
        Format::Csv,
        Columns::of(&inputs, model),
        true,
    )?;
    let tally = Tally::new(classes, None, 0)?;
    let measured = measure(
        model,
        inputs,
        Some(PARITY_BATCH),
        tally,
        context,
        |input, classified| {
            scores.extend_from_slice(classified.scores);
            Ok(lines.write(&Row::new(input, classified, model))?)
        },
    )?;
    lines.finish()?;
    drop(lines);
    Ok(measured.map(|measured| Ran {
        measured,
        scores,
        predictions,
    }))
}

/// Loads the exported file on every engine present and compares them with Burn on one training
/// batch's worth of test images.
fn verify(
    trained: &Trained,
    run: &RunDir,
    images: &View,
    context: &Context<'_>,
) -> anyhow::Result<(Vec<(EngineChoice, Model)>, Parity)> {
    let present = engines::present(&context.assets.cache)?;
    let options = engines::default_options(context.threads, &context.assets.cache);
    let path = run.file(RunFile::Model);
    let file = std::fs::read(&path).map_err(|source| kiln_run::RunError::Read { path, source })?;
    let preprocessor =
        std::sync::Arc::new(Preprocessor::new(trained.model.preprocessing().clone())?);
    let batch_size = trained.recipe.training.batch_size.min(images.len());
    let mut batches = Loader::new(
        Samples::images(images.clone(), preprocessor),
        batch_size,
        Order::Sequential,
    )?
    .iter();
    let batch = batches
        .next()
        .transpose()?
        .ok_or_else(|| anyhow::anyhow!("the data set has no test images"))?;
    let models = present.iter().map(|&engine| {
        let model = Model::from_bytes(
            &file,
            &Options {
                engine,
                ..options.clone()
            },
        )?;
        Ok((engine, model))
    });
    let models = models.collect::<anyhow::Result<Vec<_>>>()?;
    let parity = parity::check(trained, &file, &models, &batch.values, &options)?;
    if let (true, Some(worst)) = (parity.passed, parity.worst()) {
        let (names, hint) = if present.contains(&EngineChoice::Ort) {
            ("Burn, tract and ONNX Runtime", "")
        } else {
            (
                "Burn and tract",
                " (`kiln fetch onnxruntime` adds ONNX Runtime)",
            )
        };
        let difference = worst.agreement.max_absolute;
        context.terminal.status(
            "Verified",
            &format!(
                "{names} agree: largest difference {difference:.1e} at batch {}{hint}",
                parity.batch_sizes()
            ),
        );
    }
    Ok((models, parity))
}

fn summary(
    recipe: &Recipe,
    run: &RunDir,
    measured: &[(&str, Measured)],
    parity: &Parity,
) -> anyhow::Result<String> {
    let mut text = String::new();
    if let Some((_, first)) = measured.first() {
        let evaluation = &first.evaluation;
        writeln!(
            text,
            "{}: {} of {} test images, loss {:.4}",
            recipe.name,
            percent(evaluation.accuracy),
            thousands(evaluation.images as usize),
            evaluation.loss
        )?;
        writeln!(text, "\n{}\n", engine_table(measured))?;
    }
    if let (true, Some(worst)) = (parity.passed, parity.worst()) {
        writeln!(
            text,
            "All implementations agree: {}; scores differ by at most {:.1e} (allowed {}).",
            parity.top_classes(),
            worst.agreement.max_absolute,
            parity.allowed(),
        )?;
    }
    writeln!(text, "Model: {}", run.file(RunFile::Model).display())?;
    writeln!(text, "Report: {}", run.file(RunFile::Report).display())?;
    Ok(text)
}

fn engine_table(measured: &[(&str, Measured)]) -> String {
    let rows = measured.iter().map(|(name, result)| {
        let rate = thousands(result.images_per_second().round() as usize);
        [
            (*name).to_string(),
            percent(result.evaluation.accuracy),
            rate,
        ]
    });
    text_table(["engine", "accuracy", "images/s"], rows, 1)
}
