//! Phase 4, the parity gate: Burn and every engine must compute the same from the same weights.
//! Where they do not, it finds the layer from which they part ways.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, Instant};

use kiln_inference::{EngineId, Model, Options};
use kiln_metrics::{Agreement, MetricsError, Tolerance};
use kiln_trainer::Predictor;
use kiln_util::{counted, listed, thousands};
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::error::Result;
use crate::event::Task;
use crate::export::TrainedModel;
use crate::patience::affordable;
use crate::tolerance::tolerance;

/// What the gate found; `parity.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Parity {
    /// Whether every comparison passed.
    pub passed: bool,
    /// What was allowed.
    pub tolerance: Tolerance,
    /// One per pair of implementations and batch size.
    pub comparisons: Vec<Comparison>,
    /// Engines that were there and were not compared, by their titles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<Cow<'static, str>>,
    /// Where implementations that differ part ways.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first_differences: Vec<LayerDifference>,
}

/// Two implementations on the same images.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Comparison {
    /// The implementation that the other is measured against.
    pub reference: Cow<'static, str>,
    /// The other.
    pub other: Cow<'static, str>,
    /// Images per run.
    pub batch_size: usize,
    /// How far they lie apart.
    #[serde(flatten)]
    pub agreement: Agreement,
    /// Whether every image's scores are within its tolerance.
    pub passed: bool,
}

impl Parity {
    /// The comparison whose scores lie farthest apart.
    pub fn worst(&self) -> Option<&Comparison> {
        self.comparisons.iter().max_by(|a, b| {
            a.agreement
                .max_absolute
                .total_cmp(&b.agreement.max_absolute)
        })
    }

    /// The engines that were compared, by their titles, some of them several times.
    pub fn engines(&self) -> impl Iterator<Item = &str> {
        let others = self.comparisons.iter().map(|it| it.other.as_ref());
        others.filter(|title| *title != BURN)
    }

    /// Whether each of these engines was compared, or left out for a reason.
    pub fn covers(&self, engines: &[EngineId]) -> bool {
        engines.iter().all(|engine| {
            let left_out = self.left_out.iter().map(Cow::as_ref);
            self.engines()
                .chain(left_out)
                .any(|title| title == engine.title())
        })
    }

    /// One line per failure, for people.
    pub fn failures(&self) -> Vec<String> {
        let comparisons = self.comparisons.iter().filter(|comparison| !comparison.passed).map(|comparison| {
            let Comparison { reference, other, batch_size, agreement, .. } = comparison;
            let count = |n: u64| thousands(n as usize);
            format!(
                "{other} and {reference} differ at batch {batch_size}: {} of {} differ by more than {}, by up to {:.3e} or \
                 {:.1e} of an image's largest score; the top class is the same for {}",
                count(agreement.images - agreement.agreeing),
                counted(agreement.images, "image"),
                self.allowed(),
                agreement.max_absolute,
                agreement.max_relative,
                count(agreement.same_top),
            )
        });
        comparisons
            .chain(self.first_differences.iter().map(ToString::to_string))
            .collect()
    }

    /// What an image's scores may differ by, such as `1e-4, or 6.7e-6 of the image's largest score
    /// where that is more`.
    pub fn allowed(&self) -> String {
        let Tolerance { absolute, relative } = self.tolerance;
        format!("{absolute:.0e}, or {relative:.1e} of the image's largest score where that is more")
    }

    /// On how many images all implementations that agree have the same top class, in words.
    pub fn top_classes(&self) -> String {
        match self
            .comparisons
            .iter()
            .map(|comparison| &comparison.agreement)
            .max_by_key(|agreement| agreement.ties)
        {
            Some(Agreement {
                images,
                same_top,
                ties,
                ..
            }) if *ties > 0 => format!(
                "the top class is the same for {} of {}, with {} within the tolerance",
                thousands(*same_top as usize),
                counted(*images, "image"),
                counted(*ties, "tie")
            ),
            _ => "the top class is the same for every image".to_owned(),
        }
    }

    /// The batch sizes that were compared: `1, 2 and 128`.
    pub fn batch_sizes(&self) -> String {
        let mut sizes: Vec<_> = self
            .comparisons
            .iter()
            .map(|comparison| comparison.batch_size)
            .collect();
        sizes.dedup();
        listed(sizes)
    }
}

/// What came of the gate.
pub struct Checked {
    /// What it found.
    pub parity: Parity,
    /// Time that each model took for an image, in the order of the models.
    pub for_one: Vec<Duration>,
}

/// Runs the same prepared images through Burn and through the exported file on each engine: one by
/// one, in pairs, and many at once, as many images as take no longer than `patience`, about. The models are the file's,
/// loaded with the options, each with its engine. Returns `None` if cancelled.
pub fn check(
    trained: &TrainedModel,
    file: &[u8],
    models: &[(EngineId, Model)],
    pixels: &[f32],
    options: &Options,
    patience: Duration,
    context: &Context<'_>,
) -> Result<Option<Checked>> {
    let size = trained.model.preprocessing().len();
    let classes = trained.model.classes();
    let _watch = context.cancel.watch();
    let burn = trained.burn()?;
    let mut times = Vec::with_capacity(models.len() + 1);
    if let Some(first) = pixels.get(..size) {
        // Of their first runs, in which they plan and allocate, the time says nothing.
        for _ in 0..2 {
            times.clear();
            if context.cancel.is_cancelled() {
                return Ok(None);
            }
            times.push(timed(|| burn.logits(first).map(drop))?);
            for (_, model) in models {
                if context.cancel.is_cancelled() {
                    return Ok(None);
                }
                times.push(timed(|| model.run_named(first, 1).map(drop))?);
            }
        }
    }
    // Each image is run at three batch sizes.
    let all = 3 * times.iter().sum::<Duration>();
    let images = affordable(patience, all, FEWEST, pixels.len() / size);
    let pixels = &pixels[..images * size];
    // A batch takes no longer than cancelling may take.
    let slowest = times.iter().max().copied().unwrap_or_default();
    let largest = affordable(LONGEST_BATCH, slowest, FEWEST, images);
    let tolerance = tolerance(&trained.model);
    let mut comparisons = Vec::new();
    let mut first_differences = Vec::new();
    let mut for_one = times.split_off(times.len().min(1));
    let mut batch_sizes = vec![1, 2, largest];
    batch_sizes.retain(|&size| size <= images);
    batch_sizes.dedup();
    let runs = batch_sizes.iter().map(|size| images.div_ceil(*size));
    let steps = runs.sum::<usize>() * (models.len() + 1);
    let task = context.task(Task::Verify, Some(steps as u64));
    for batch_size in batch_sizes {
        let chunks = || pixels.chunks(batch_size * size);
        let reference: Vec<f32> = chunks()
            .take_while(|_| !context.cancel.is_cancelled())
            .map(|chunk| {
                task.advance(1);
                burn.logits(chunk)
            })
            .collect::<Result<Vec<_>, _>>()?
            .concat();
        let mut outputs = vec![(BURN, trained.scores(reference))];
        for ((engine, model), for_one) in models.iter().zip(&mut for_one) {
            let start = Instant::now();
            // Not `run`, which refuses scores that are no numbers: those are a difference like any
            // other.
            let chunks = chunks().take_while(|_| !context.cancel.is_cancelled());
            let runs = chunks.map(|chunk| {
                task.advance(1);
                Ok(model
                    .run_named(chunk, chunk.len() / size)?
                    .swap_remove(0)
                    .data)
            });
            let scores = runs.collect::<Result<Vec<_>>>()?.concat();
            *for_one = start.elapsed() / images.max(1) as u32;
            outputs.push((engine.title(), scores));
        }
        if context.cancel.is_cancelled() {
            return Ok(None);
        }
        comparisons.extend(compare(&outputs, batch_size, classes, tolerance)?);
    }
    drop(task);
    for (engine, _) in models {
        let failed = |c: &Comparison| !c.passed && c.other == engine.title();
        if let Some(burn) = burn.whole()
            && comparisons.iter().any(failed)
        {
            first_differences.extend(first_difference(
                trained, file, burn, pixels, *engine, options,
            )?);
        }
    }
    let passed = comparisons.iter().all(|comparison| comparison.passed);
    let parity = Parity {
        passed,
        tolerance,
        comparisons,
        left_out: Vec::new(),
        first_differences,
    };
    Ok(Some(Checked { parity, for_one }))
}

/// Returns the shortest time that work takes in a few runs, or the time of one that is long: others may have the
/// processor in between.
fn timed<E>(work: impl Fn() -> Result<(), E>) -> Result<Duration, E> {
    let start = Instant::now();
    let mut shortest = Duration::MAX;
    for _ in 0..5 {
        let run = Instant::now();
        work()?;
        shortest = shortest.min(run.elapsed());
        if start.elapsed() > Duration::from_millis(100) {
            break;
        }
    }
    Ok(shortest)
}

/// What Burn is called among the implementations.
const BURN: &str = "Burn";

/// The fewest images that are compared where there are more: enough for a batch.
const FEWEST: usize = 2;

/// How long a batch may take, about, if it has more than two images.
pub const LONGEST_BATCH: Duration = Duration::from_secs(1);

/// How far two outputs lie apart; as far as can be where one has values that are no numbers.
fn agreement(
    a: &[f32],
    b: &[f32],
    values: usize,
    tolerance: Tolerance,
) -> Result<Agreement, MetricsError> {
    match Agreement::between(a, b, values, tolerance) {
        Err(MetricsError::NotFinite { .. }) => Ok(Agreement::none((a.len() / values) as u64)),
        other => other,
    }
}

/// Every pair of implementations.
pub fn compare(
    outputs: &[(&'static str, Vec<f32>)],
    batch_size: usize,
    classes: usize,
    tolerance: Tolerance,
) -> Result<Vec<Comparison>> {
    let mut comparisons = Vec::new();
    for (at, (reference, a)) in outputs.iter().enumerate() {
        for (other, b) in &outputs[at + 1..] {
            let agreement = agreement(a, b, classes, tolerance)?;
            let passed = agreement.passes();
            let (reference, other) = (Cow::Borrowed(*reference), Cow::Borrowed(*other));
            comparisons.push(Comparison {
                reference,
                other,
                batch_size,
                agreement,
                passed,
            });
        }
    }
    Ok(comparisons)
}

/// The first layer whose output differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerDifference {
    /// The engine that differs from Burn.
    pub engine: Cow<'static, str>,
    /// The layer's name.
    pub layer: String,
    /// Largest difference of its outputs.
    pub max_absolute: f64,
}

impl fmt::Display for LayerDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the first layer that differs between Burn and {} is `{}`: by up to {:.3e}",
            self.engine, self.layer, self.max_absolute
        )
    }
}

/// Runs the file with every layer's value as an output, and compares them with Burn's in order.
/// Nothing if all are within the tolerance, as when only the softmax after them differs.
fn first_difference(
    trained: &TrainedModel,
    file: &[u8],
    burn: &Predictor,
    pixels: &[f32],
    engine: EngineId,
    options: &Options,
) -> Result<Option<LayerDifference>> {
    let model = Model::from_bytes(
        &with_all_outputs(file)?,
        &options.clone().with_engine(engine),
    )?;
    let images = pixels.len() / trained.model.preprocessing().len();
    let outputs = model.run_named(pixels, images)?;
    let values = trained.export()?.layers;
    let tolerance = tolerance(&trained.model);
    for expected in burn.layer_outputs(pixels)? {
        // Dropout, and a layer whose normalization is folded into it, have no value of their own.
        let Some((_, value)) = values.iter().find(|(layer, _)| *layer == expected.name) else {
            continue;
        };
        let Some(found) = outputs.iter().find(|output| output.name == *value) else {
            continue;
        };
        let agreement = agreement(
            &expected.data,
            &found.data,
            expected.data.len() / images,
            tolerance,
        )?;
        if !agreement.passes() {
            let (engine, max_absolute) = (Cow::Borrowed(engine.title()), agreement.max_absolute);
            return Ok(Some(LayerDifference {
                engine,
                layer: expected.name,
                max_absolute,
            }));
        }
    }
    Ok(None)
}

/// The exporter writes down the shape of every layer's value; that is all an output takes.
fn with_all_outputs(file: &[u8]) -> Result<Vec<u8>> {
    let mut model = kiln_onnx::decode(file)?;
    if let Some(graph) = &mut model.graph {
        let values = std::mem::take(&mut graph.value_info);
        graph.output.extend(values);
    }
    Ok(kiln_onnx::encode(&model))
}

#[cfg(test)]
mod tests;
