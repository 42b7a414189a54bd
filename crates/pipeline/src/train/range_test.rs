//! At which learning rates a recipe learns: a range test of one of its phases.

use kiln_model::{OptimizerKind, Recipe};
use kiln_report::{Picture, RangePoint, plot_range_test};
use kiln_run::{History, RangeTestDir, RangeTestFile};
use kiln_trainer::{Device, RangeEnd, RangeTest, RangeTested, Suggestion, Task as Fit, range_test};
use serde::Serialize;

use super::phases::Training;
use super::start::Start;
use super::{backbone, dataset, device_of};
use crate::context::Context;
use crate::error::Result;
use crate::error::training::RangeTestError;
use crate::event::{Event, RangeTestInfo, Task};
use crate::recipe::RecipeText;

/// What is tested.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RangeTestRequest {
    /// The phase, from 1.
    pub phase: usize,
    /// The learning rates.
    pub range: RangeTest,
    /// The device.
    pub device: Device,
}

impl RangeTestRequest {
    /// Tests the first phase with the default rates.
    pub fn new(device: Device) -> Self {
        Self {
            phase: 1,
            range: RangeTest::default(),
            device,
        }
    }
}

/// A recipe whose learning rates were tested.
#[derive(Debug)]
#[non_exhaustive]
pub struct LearningRates {
    /// The recipe's name.
    pub recipe: String,
    /// The phase, from 1.
    pub phase: usize,
    /// The learning rate that the recipe has.
    pub current: f64,
    /// The steps, and why they ended.
    pub tested: RangeTested,
    /// What follows from them, its learning rate to two digits; none where the loss does not fall, or the test was cancelled
    /// before it rose again.
    pub suggestion: Option<Suggestion>,
    /// Overrides that give the recipe the suggested rate and change nothing else. Learning rates of layers and of a
    /// schedule's table are scaled with it.
    pub overrides: Vec<String>,
}

/// A row of the file of steps.
#[derive(Serialize)]
struct Row {
    step: usize,
    learning_rate: f64,
    loss: f64,
    smoothed: f64,
}

/// Trains a phase of a recipe on its data for some steps with growing learning rates. Nothing of the weights is kept,
/// and nothing is written but features of frozen layers, which serve a training too. A phase after the first
/// begins with the weights that the recipe begins with. Returns nothing if it was cancelled before its first step.
///
/// # Errors
///
/// [`RangeTestError`] for a phase that is not there or has no learning rate, or a loss that is no number from the
/// beginning, and the errors of [`train`](fn@super::train).
pub fn find_learning_rate(
    recipe: &RecipeText,
    overrides: &[String],
    request: &RangeTestRequest,
    context: &Context<'_>,
) -> Result<Option<LearningRates>> {
    let text = recipe;
    let recipe = text.parse(overrides, context)?;
    let phases = &recipe.training.phases;
    let number = request.phase;
    let Some(phase) = number.checked_sub(1).and_then(|at| phases.get(at)) else {
        let phases = phases.len();
        return Err(RangeTestError::NoPhase { number, phases }.into());
    };
    if matches!(phase.optimizer.kind, OptimizerKind::Lbfgs(_)) {
        return Err(RangeTestError::NoLearningRate.into());
    }
    let Some(tested) = test(&recipe, request, context)? else {
        return Ok(None);
    };
    if let (true, RangeEnd::NotFinite { loss, .. }) = (tested.steps.is_empty(), tested.end) {
        return Err(RangeTestError::NotFinite { loss }.into());
    }
    let mut found = LearningRates {
        recipe: recipe.name.clone(),
        phase: number,
        current: phase.optimizer.learning_rate,
        suggestion: tested.suggestion(),
        tested,
        overrides: Vec::new(),
    };
    if let Some(suggestion) = &mut found.suggestion {
        suggestion.learning_rate = rounded(suggestion.learning_rate);
        let phase = phase.with_learning_rate(suggestion.learning_rate);
        let mut wanted = (*recipe).clone();
        wanted.training.phases[number - 1] = phase.clone();
        let means = |way: &&Vec<String>| {
            let changed = text.parse(&[overrides, way].concat(), context);
            changed.is_ok_and(|recipe| *recipe == wanted)
        };
        let ways = phase.learning_rate_overrides(number);
        found.overrides = ways.iter().find(means).cloned().unwrap_or_default();
    }
    Ok(Some(found))
}

/// Tests a phase that has a learning rate. Returns nothing if it was cancelled before its first step.
fn test(
    recipe: &Recipe,
    request: &RangeTestRequest,
    context: &Context<'_>,
) -> Result<Option<RangeTested>> {
    let at = request.phase - 1;
    let model = recipe.model_in(at);
    let device = &device_of(recipe, &request.device)?;
    let backbone = backbone(recipe, context)?;
    let splits = dataset::splits(recipe, context)?;
    let start = Start::first(recipe, backbone.as_ref(), context)?;
    let _watch = context.cancel.watch();
    let training = Training {
        recipe,
        splits: &splits,
        run: None,
        tensorboard: false,
        pause_after: None,
        device,
        backbone: backbone.as_ref(),
        context,
    };
    context.emit(&Event::RangeTestStarted(RangeTestInfo {
        train_images: splits.train.len(),
        phase: request.phase,
        begins_with_run: start.initial.is_some(),
        parameters: model.counts(),
        range: &request.range,
        device,
    }));
    let mut weights = start.weights.clone();
    let Some(common) = training.prepare(&start, &mut weights)? else {
        return Ok(None);
    };
    let first_layer = training.prefix(model.fixed_prefix());
    let Some(samples) = common.advance(first_layer, model, &weights, &training)? else {
        return Ok(None);
    };
    let (train, validation) = samples.split(&splits);
    let history = History::new(recipe.training.monitor);
    let progress = context.task(Task::RangeTest, Some(request.range.steps as u64));
    let tested = range_test(
        &Fit {
            model,
            first_layer: samples.first_layer,
            weights: &weights,
            history: &history,
            training: &recipe.training,
            phase: &recipe.training.phases[at],
            resume: None,
            pause_after: None,
            train: train.augmented(recipe.augmentation),
            validation,
            device,
            cancel: &context.cancel,
        },
        &request.range,
        &mut |_| progress.advance(1),
    )?;
    let cancelled = tested.end == RangeEnd::Cancelled && tested.steps.is_empty();
    Ok((!cancelled).then_some(tested))
}

/// A rate to two digits: a range test tells no more.
fn rounded(rate: f64) -> f64 {
    format!("{rate:.1e}").parse().unwrap_or(rate)
}

impl LearningRates {
    /// Draws the loss by learning rate, with the suggested rate and the recipe's.
    ///
    /// # Errors
    ///
    /// [`Error::Report`](crate::Error::Report) if it cannot be drawn.
    pub fn plot(&self) -> Result<Picture> {
        let points: Vec<RangePoint> = self
            .rows()
            .map(|row| RangePoint {
                learning_rate: row.learning_rate,
                loss: row.loss,
                smoothed: row.smoothed,
            })
            .collect();
        let suggested = self.suggestion.as_ref().map(|suggestion| {
            let rate = suggestion.learning_rate;
            (rate, format!("suggested: {rate:?}"))
        });
        let current = (self.current, format!("in the recipe: {:?}", self.current));
        let marked: Vec<_> = suggested.into_iter().chain([current]).collect();
        Ok(plot_range_test(&points, &marked)?)
    }

    /// Writes the steps as CSV and the plot as PNG and SVG.
    ///
    /// # Errors
    ///
    /// If they cannot be drawn or written.
    pub fn write(&self, folder: &RangeTestDir) -> Result<()> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        for row in self.rows() {
            csv.serialize(row).expect("writing to memory does not fail");
        }
        let csv = csv.into_inner().expect("writing to memory does not fail");
        let plot = self.plot()?;
        folder.write(RangeTestFile::Steps, &csv)?;
        folder.write(RangeTestFile::Svg, plot.to_svg().as_bytes())?;
        folder.write(RangeTestFile::Png, &plot.to_png()?)?;
        Ok(())
    }

    fn rows(&self) -> impl Iterator<Item = Row> {
        let steps = self.tested.steps.iter().zip(self.tested.smoothed());
        steps.enumerate().map(|(at, (step, smoothed))| Row {
            step: at + 1,
            learning_rate: step.learning_rate,
            loss: step.loss,
            smoothed,
        })
    }
}
