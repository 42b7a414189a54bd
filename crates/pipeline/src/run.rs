//! All phases in a row: train, export, verify, evaluate, quantize, report.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kiln_data::{Loader, Order, Samples, View};
use kiln_inference::Model;
use kiln_model::Recipe;
use kiln_preprocess::Preprocessor;
use kiln_report::{plot_confusion, text_table};
use kiln_run::{Epoch, FeatureTime, RunDir, RunFile};
use kiln_util::{percent, thousands};
use serde::Serialize;

use crate::context::Context;
use crate::dataset::{self, DatasetError};
use crate::engines;
use crate::error::Result;
use crate::evaluate::{AnyEvaluated, AnyRecord};
use crate::event::{Event, Task};
use crate::export::TrainedModel;
use crate::golden;
use crate::parity::{self, Checked, Parity};
use crate::patience::{self, Patience};
use crate::report::run_page;
use crate::run_record::RunRecord;
use crate::smaller::{Flow, Smaller};
use crate::test_images::{LoadedModel, TestImages};
use crate::thresholds;
use crate::train::{TrainOutcome, TrainRequest, log, train};

/// Images per batch when the engines are compared on all test images: enough to fill an engine's
/// largest run, and few enough that a batch of photographs is a few dozen megabytes.
const PARITY_BATCH: usize = 64;

/// Multiplications with an addition each that the parity gate takes in one pass of an implementation:
/// for the report's CNNs and VGG16 on 32 x 32 pixels a whole batch of 128, for VGG16 on 224 x 224
/// the least number of images.
const GATE_WORK: u64 = 50_000_000_000;
/// The gate compares at least so many images, if there are as many.
const GATE_IMAGES: usize = 8;

/// Multiplications with an addition each that every engine takes for the test images at most, and at most the time that
/// [`Patience`] leaves: all 10,000 of
/// MNIST through VGG16 on 32 x 32 pixels. Where all images take more, one engine computes the
/// figures, and the others are compared with it on as many images as that. Of a graph from a file,
/// they take no more than the gate.
const TEST_WORK: u64 = 3_200_000_000_000;

/// Returns how many images can be computed with so much work, within the limits.
fn affordable(work: u64, model: &kiln_model::Model, least: usize, all: usize) -> usize {
    let images = usize::try_from(work / model.multiply_adds().max(1)).unwrap_or(usize::MAX);
    images.max(least).min(all)
}

/// A recipe that went through all phases; without evaluations if the implementations disagree.
pub struct RunOutcome {
    /// The resolved recipe.
    pub recipe: Recipe,
    /// The run directory.
    pub run: RunDir,
    /// The test images' name, such as `mnist:test`.
    pub data: String,
    /// The evaluation on each engine, by its title.
    pub evaluations: Vec<(&'static str, AnyEvaluated)>,
    /// Agreement of Burn and the engines.
    pub parity: Parity,
    /// The smaller copy of the model, where the recipe asks for one.
    pub smaller: Option<Smaller>,
    /// The epoch whose weights were exported; of L-BFGS the chosen penalty.
    pub best: Option<Epoch>,
    /// As in [`TrainOutcome`].
    pub nearest_neighbor: Option<f64>,
}

/// What came of a run, as it is written.
#[derive(Serialize)]
pub struct OutcomeRecord<'a> {
    run: &'a Path,
    parity: &'a Parity,
    evaluations: Vec<AnyRecord<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    smaller: Option<&'a Smaller>,
    best: Option<Epoch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nearest_neighbor: Option<f64>,
}

impl RunOutcome {
    /// Whether all implementations agree, and the smaller copy of the model, where there is one, may replace it.
    pub fn passed(&self) -> bool {
        self.parity.passed && self.smaller.as_ref().is_none_or(Smaller::passed)
    }

    /// Returns the figures as they are written.
    pub fn record(&self) -> OutcomeRecord<'_> {
        let evaluations = self.evaluations.iter();
        OutcomeRecord {
            run: self.run.path(),
            parity: &self.parity,
            evaluations: evaluations
                .map(|(_, result)| result.record(&self.data))
                .collect(),
            smaller: self.smaller.as_ref(),
            best: self.best,
            nearest_neighbor: self.nearest_neighbor,
        }
    }

    /// Describes the figures for people: accuracy, a table of the engines, their agreement, and where
    /// model and report are.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        if let Some(best) = self.best.filter(|best| best.penalty.is_some()) {
            let neighbor = self.nearest_neighbor.map(percent);
            let neighbor = neighbor.map_or_else(String::new, |accuracy| {
                format!("; {accuracy} by the nearest training image")
            });
            let _ = writeln!(
                text,
                "{}: {} of the validation images, loss {:.4}{neighbor}",
                best.name(),
                percent(best.val_accuracy),
                best.val_loss,
            );
        }
        if let Some((_, first)) = self.evaluations.first() {
            let record = first.record(&self.data);
            let (figure, value) = match &record {
                AnyRecord::One(_) => (String::new(), percent(record.accuracy())),
                AnyRecord::Several(_) => {
                    let (figure, value) = record.headline();
                    (format!("{figure} "), value)
                }
            };
            let _ = writeln!(
                text,
                "{}: {figure}{value} of {} test images, loss {:.4}\n\n{}\n",
                self.recipe.name,
                thousands(record.images() as usize),
                record.loss(),
                self.engine_table()
            );
        }
        if let (true, Some(worst)) = (self.parity.passed, self.parity.worst()) {
            let _ = writeln!(
                text,
                "All implementations agree: {}; scores differ by at most {:.1e} (allowed {}).",
                self.parity.top_classes(),
                worst.agreement.max_absolute,
                self.parity.allowed(),
            );
        }
        if let Some(smaller) = &self.smaller {
            let _ = writeln!(text, "\n{}\n", smaller.to_text());
        }
        let file = |file| self.run.file(file).display().to_string();
        let _ = writeln!(text, "Model: {}", file(RunFile::Model));
        if let Some(name) = self.smaller.as_ref().and_then(|it| it.file.as_ref()) {
            let path = self.run.path().join(name);
            let _ = writeln!(text, "Smaller model: {}", path.display());
        }
        let _ = writeln!(text, "Report: {}", file(RunFile::Report));
        text
    }

    fn engine_table(&self) -> String {
        let rows = self.evaluations.iter().map(|(title, result)| {
            let record = result.record(&self.data);
            let rate = thousands(record.images_per_second().round() as usize);
            [(*title).to_string(), record.headline().1, rate]
        });
        let first = self.evaluations.first();
        let figure = first.map_or("accuracy", |(_, first)| {
            first.record(&self.data).headline().0
        });
        text_table(["engine", figure, "images/s"], rows, 1)
    }
}

/// Trains a recipe into a new run directory, exports, verifies, evaluates and reports it. Returns
/// `None` if cancelled: the run can be resumed then.
pub fn run(
    recipe: Recipe,
    request: &TrainRequest,
    context: &Context<'_>,
) -> Result<Option<RunOutcome>> {
    finish(train(recipe, request, context)?, context)
}

/// The engines that an exported model is compared and evaluated on, of those present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    /// All of them, in the order of the registry.
    All,
    /// All of them, beginning with the one of [`Fastest`](Self::Fastest), whose figures are reported.
    AllFastestFirst,
    /// One: of several, the last of the registry, since one with a library of its own is the faster.
    Fastest,
}

/// Exports, verifies, evaluates and reports a training that finished. Returns `None` if it did not,
/// or if cancelled.
pub fn finish(outcome: TrainOutcome, context: &Context<'_>) -> Result<Option<RunOutcome>> {
    finish_on(outcome, On::All, context)
}

/// Finishes a training as [`finish`] does, on some engines.
pub(crate) fn finish_on(
    outcome: TrainOutcome,
    on: On,
    context: &Context<'_>,
) -> Result<Option<RunOutcome>> {
    let TrainOutcome {
        recipe,
        run,
        finished,
        nearest_neighbor,
        train_images,
        lock: _lock,
    } = outcome;
    if !finished {
        return Ok(None);
    }
    // Loading models is not interrupted, but neither is the process ended in the middle of it.
    let _watch = context.cancel.watch();
    let mut trained = TrainedModel::open(&run, recipe, context)?;
    let images = dataset::test_images(&trained.recipe, context)?;
    let data = dataset::test_name(&trained.recipe);
    let Some(thresholds) = thresholds::chosen(&trained, &run, context)? else {
        return Ok(None);
    };
    trained.threshold = thresholds;
    if trained.recipe.export.golden {
        let stop = || context.cancel.is_cancelled();
        let Some(golden) = golden::vectors(&trained, &images, &data, context, stop)? else {
            return Ok(None);
        };
        trained.golden = Some(golden);
    }
    trained.write(&run.file(RunFile::Model), context)?;
    let patience = Patience::after(training_seconds(&run, &trained.recipe)?);
    let verified = verify(&trained, &run, &images, on, patience.gate, context)?;
    let Some((
        models,
        Checked {
            mut parity,
            for_one,
        },
    )) = verified
    else {
        return Ok(None);
    };
    let mut evaluations = Vec::new();
    let mut predictions = Vec::new();
    let mut smaller = None;
    if parity.passed {
        let all = images.len();
        // A graph of a file's may be slow on one engine and fast on another.
        let work = if trained.has_graph() {
            GATE_WORK
        } else {
            TEST_WORK
        };
        let slowest = for_one.iter().max().copied().unwrap_or_default();
        let in_time = patience::affordable(patience.test_images, slowest, GATE_IMAGES, all);
        let affordable = affordable(work, &trained.model, PARITY_BATCH, all).min(in_time);
        let test_images = TestImages {
            all: &images,
            sample: (affordable < all).then(|| images.take(affordable, 0)),
            batch_size: batch_size(&models, slowest),
        };
        // Of engines that are to save time, one with a library of its own is the faster.
        let order: Vec<&LoadedModel> = match (&test_images.sample, on) {
            (None, On::All) => models.iter().collect(),
            _ => models.iter().rev().collect(),
        };
        let Some(mut runs) = test_images.run(&order, context)? else {
            return Ok(None);
        };
        let scores: Vec<_> = runs
            .iter_mut()
            .map(|run| (run.engine.title(), std::mem::take(&mut run.scores)))
            .collect();
        // Of a single score, both of its classes have one here.
        let classes = trained.labels.len();
        let compared = parity::compare(&scores, test_images.batch_size, classes, parity.tolerance)?;
        parity.comparisons.extend(compared);
        parity.passed = parity
            .comparisons
            .iter()
            .all(|comparison| comparison.passed);
        predictions = std::mem::take(&mut runs[0].predictions);
        if let (true, Some(form)) = (
            parity.passed && on != On::Fastest,
            trained.recipe.export.quantize,
        ) {
            let flow = Flow {
                form,
                recipe: &trained.recipe,
                run: &run,
                multiply_adds: trained.model.multiply_adds(),
                models: &order,
                float: &runs,
                images: &test_images,
            };
            // The rest of the run is written whatever comes of it.
            smaller = Some(flow.run(&data, context));
            if let Some(Ok(None)) = smaller {
                return Ok(None);
            }
        }
        runs.truncate(if test_images.sample.is_some() {
            1
        } else {
            runs.len()
        });
        evaluations.extend(
            runs.into_iter()
                .map(|run| (run.engine.title(), run.evaluated)),
        );
    }
    for failure in parity.failures() {
        context.emit(&Event::ParityFailed { failure: &failure });
    }
    if let Some((_, first)) = evaluations.first() {
        let records = evaluations.iter().map(|(_, result)| result.record(&data));
        let records: Vec<AnyRecord<'_>> = records.collect();
        run.write_json(RunFile::Evaluation, &records)?;
        if let AnyEvaluated::One(first) = first {
            let confusion = &first.evaluation.confusion;
            let plot = plot_confusion(confusion, &trained.labels, false)?.to_svg();
            run.write(RunFile::Confusion, plot.as_bytes())?;
        }
        run.write(RunFile::Predictions, &predictions)?;
    }
    if let Some(Ok(Some(smaller))) = &smaller {
        run.write_json(RunFile::Quantized, smaller)?;
    }
    // Last, since a run with this file is one that needs nothing more.
    run.write_json(RunFile::Parity, &parity)?;
    let record = RunRecord::read(run.clone())?;
    log(&run, &record.recipe, &record.history, train_images, false)?;
    let page = run_page(&record, context)?;
    run.write(RunFile::Report, page.to_html().as_bytes())?;
    Ok(Some(RunOutcome {
        recipe: trained.recipe,
        run,
        data,
        evaluations,
        parity,
        smaller: smaller.transpose()?.flatten(),
        best: record.history.best().copied(),
        nearest_neighbor,
    }))
}

/// How long the epochs of a run and its features took.
fn training_seconds(run: &RunDir, recipe: &Recipe) -> Result<f64> {
    let epochs = run.history(recipe.training.monitor)?.epochs;
    let features: Option<FeatureTime> = run.read_json(RunFile::Features)?;
    let features = features.map_or(0.0, |time| time.seconds);
    Ok(features + epochs.iter().map(|epoch| epoch.seconds).sum::<f64>())
}

/// Images per batch on the test images, where the slowest model takes so long for one on all threads: each thread
/// takes a batch, which should be done, and told of, within a second or so.
fn batch_size(models: &[LoadedModel], for_one: Duration) -> usize {
    let threads = models.iter().map(|(_, model)| model.runtime().threads);
    let on_a_thread = for_one.saturating_mul(threads.max().unwrap_or(1) as u32);
    patience::affordable(parity::LONGEST_BATCH, on_a_thread, 1, PARITY_BATCH)
}

/// Loads the exported file on every engine present and compares them with Burn on test images, as
/// many as a training batch has unless they take too long. Returns `None` if cancelled.
fn verify(
    trained: &TrainedModel,
    run: &RunDir,
    images: &View,
    on: On,
    patience: Duration,
    context: &Context<'_>,
) -> Result<Option<(Vec<LoadedModel>, Checked)>> {
    let mut present = engines::present(context)?;
    if on == On::Fastest {
        present.reverse();
    }
    let options = engines::options(context);
    let file = Arc::new(run.read(RunFile::Model)?);
    let preprocessor = Arc::new(Preprocessor::new(trained.model.preprocessing().clone())?);
    let batch_size = trained.recipe.training.batch_size.min(images.len());
    let batch_size = affordable(GATE_WORK, &trained.model, GATE_IMAGES, batch_size);
    let samples = Samples::images(images.clone(), preprocessor);
    let mut batches = Loader::new(samples, batch_size, Order::Sequential)?.iter();
    let batch = batches
        .next()
        .transpose()?
        .ok_or_else(|| DatasetError::Empty {
            dataset: trained.recipe.data.dataset.to_string(),
            subset: "test",
        })?;
    let mut models = Vec::with_capacity(present.len());
    let mut left_out = Vec::new();
    let mut refused = None;
    for &engine in &present {
        if on == On::Fastest && !models.is_empty() {
            break;
        }
        if trained.only_engine().is_some_and(|only| only != engine) {
            context.emit(&Event::EngineLeftOut {
                engine: engine.title(),
                reason: "its graph computes in integers or half precision, and engines round differently: this one is not compared",
            });
            left_out.push(engine.title().into());
            continue;
        }
        let options = options.clone().with_engine(engine);
        let bytes = Arc::clone(&file);
        let load = move || Model::from_bytes(&bytes, &options);
        let title = engine.title();
        let task = context.task(Task::Load { engine: title }, None);
        let Some(loaded) = context.interruptible(load) else {
            return Ok(None);
        };
        drop(task);
        match loaded {
            Ok(model) => models.push((engine, model)),
            // kiln's own graphs run everywhere; that of a file may need what an engine lacks.
            Err(error) if trained.has_graph() => {
                context.emit(&Event::EngineLeftOut {
                    engine: engine.title(),
                    reason: &error.to_string(),
                });
                left_out.push(engine.title().into());
                refused = refused.or(Some(error));
            }
            Err(error) => return Err(error.into()),
        }
    }
    if let (true, Some(error)) = (models.is_empty(), refused) {
        return Err(error.into());
    }
    if context.cancel.is_cancelled() {
        return Ok(None);
    }
    let pixels = &batch.values;
    let checked = parity::check(trained, &file, &models, pixels, &options, patience, context)?;
    let Some(mut checked) = checked else {
        return Ok(None);
    };
    checked.parity.left_out = left_out;
    let parity = &checked.parity;
    if let (true, Some(worst)) = (parity.passed, parity.worst()) {
        let titles = models.iter().map(|(engine, _)| engine.title());
        let implementations: Vec<&str> = std::iter::once("Burn").chain(titles).collect();
        context.emit(&Event::Verified {
            implementations: &implementations,
            max_difference: worst.agreement.max_absolute,
            batch_sizes: &parity.batch_sizes(),
        });
    }
    Ok(Some((models, checked)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_that_are_dear_are_compared_on_fewer_images() {
        let model = |size: usize| {
            let text = format!(
                "layers = [{{ type = \"global_avg_pool\" }}, {{ type = \"dense\", units = 10 }}]\n\
                 [backbone]\nname = \"vgg16\"\n[input]\nheight = {size}\nwidth = {size}\nchannels = \"bgr\""
            );
            Recipe::parse(&text, "vgg.toml", "vgg", &[])
                .unwrap()
                .model()
                .clone()
        };
        // The thirteen convolutions take 15.3 billion at 224 x 224, as is published.
        let large = model(224);
        assert_eq!(large.multiply_adds() / 100_000_000, 153);
        assert_eq!(affordable(GATE_WORK, &large, GATE_IMAGES, 32), 8);
        assert_eq!(affordable(GATE_WORK, &large, GATE_IMAGES, 5), 5);
        assert_eq!(affordable(TEST_WORK, &large, PARITY_BATCH, 372), 208);
        let small = model(32);
        assert_eq!(affordable(GATE_WORK, &small, GATE_IMAGES, 128), 128);
        assert_eq!(affordable(TEST_WORK, &small, PARITY_BATCH, 10_000), 10_000);
    }
}
