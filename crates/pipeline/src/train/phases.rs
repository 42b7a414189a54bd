//! Training phase by phase, and what is reported and kept meanwhile.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use kiln_model::{Model, Recipe};
use kiln_preprocess::Preprocessor;
use kiln_run::{Checkpoint, Epoch, History, Progress, RunDir, RunFile, Weights};
use kiln_trainer::{
    BatchReport, Device, Observer, Resume, Snapshot, Task, TrainError, fit, frozen_checksums,
};

use super::features::Prepared;
use super::neighbors;
use super::start::Start;
use crate::backbone::BackboneFile;
use crate::context::Context;
use crate::dataset::Splits;
use crate::error::Result;
use crate::error::training::TrainRunError;
use crate::event::Event;

/// A training under way.
pub struct Training<'a> {
    pub recipe: &'a Recipe,
    pub splits: &'a Splits,
    /// Where it is kept; of a range test nothing is.
    pub run: Option<&'a RunDir>,
    pub device: &'a Device,
    /// Whether the run gets an event file for TensorBoard.
    pub tensorboard: bool,
    /// The backbone, where it is read from its file.
    pub backbone: Option<&'a BackboneFile>,
    /// Number of epochs of all phases after which the training is to pause.
    pub pause_after: Option<usize>,
    pub context: &'a Context<'a>,
}

/// The result of a training, also of one that was cancelled or paused.
pub struct Trained {
    /// The whole model's, after the best epoch.
    pub weights: Weights,
    pub history: History,
    pub finished: bool,
    /// Nearest-neighbor accuracy of a frozen graph's features.
    pub nearest_neighbor: Option<f64>,
}

impl Training<'_> {
    /// Runs the samples through the layers that stay frozen in all phases, and gives unfolded convolutions their
    /// normalizations in `weights`. Returns nothing if cancelled.
    pub fn prepare(&self, from: &Start, weights: &mut Weights) -> Result<Option<Prepared>> {
        let Self {
            recipe,
            splits,
            context,
            ..
        } = *self;
        let model = recipe.model();
        let preprocessor = Arc::new(Preprocessor::new(model.preprocessing().clone())?);
        let common = recipe.fixed_prefix();
        if recipe.images_change_every_epoch() && common > 0 {
            context.emit(&Event::FeaturesNotKept);
        }
        let images = Prepared::images(splits, &preprocessor, recipe);
        let Some(common) = images.advance(self.prefix(common), model, weights, self)? else {
            return Ok(None);
        };
        let (train, _) = common.split(splits);
        let unfolded = self.unfold(from, &train, common.first_layer, weights)?;
        Ok(unfolded.then_some(common))
    }

    /// Returns how many of so many frozen layers run once for every image: none where images are others in
    /// every epoch, which leaves nothing to compute once.
    pub fn prefix(&self, layers: usize) -> usize {
        if self.recipe.images_change_every_epoch() {
            0
        } else {
            layers
        }
    }

    /// Whether the training is to pause after so many epochs.
    pub fn is_paused_after(&self, epochs: usize) -> bool {
        self.pause_after.is_some_and(|pause| epochs >= pause)
    }

    /// Trains phase by phase into a run.
    pub fn run(&self, run: &RunDir, from: &Start) -> Result<Trained> {
        let Self {
            recipe,
            splits,
            context,
            ..
        } = *self;
        let _watch = context.cancel.watch();
        let mut weights = from.weights.clone();
        let mut history = from.history.clone();
        let mut recorder = Recorder::new(self, run, history.clone(), from.trained.clone());
        let resume_of = |phase: usize| match &from.snapshot {
            Some(snapshot) if phase == from.phase => Some(Resume {
                epochs: from.epochs,
                snapshot,
            }),
            _ => None,
        };
        let mut nearest_neighbor = None;
        let cancelled = |weights, history| {
            Ok(Trained {
                weights,
                history,
                finished: false,
                nearest_neighbor: None,
            })
        };
        // Features after the layers that stay frozen in all phases serve all phases.
        let Some(common) = self.prepare(from, &mut weights)? else {
            return cancelled(weights, history);
        };
        let pretrained = frozen_throughout(recipe, &weights);
        let phases = recipe
            .training
            .phases
            .iter()
            .zip(recipe.models())
            .enumerate();
        for (number, (phase, model)) in phases.skip(from.phase) {
            // Features of the next phase are computed once it is trained.
            let is_begun = number == from.phase && from.epochs > 0;
            if !is_begun && self.is_paused_after(history.epochs.len()) {
                return cancelled(weights, history);
            }
            let first_layer = self.prefix(model.fixed_prefix());
            let Some(samples) = common.advance(first_layer, model, &weights, self)? else {
                return cancelled(weights, history);
            };
            let (train, validation) = samples.split(splits);
            // Wrong preprocessing shows before an epoch is trained.
            if number == 0
                && self.backbone.is_some()
                && let Some(last) = samples.first_layer.checked_sub(1)
            {
                let (width, seed) = (model.layers()[last].output.len(), recipe.training.seed);
                nearest_neighbor = neighbors::accuracy(&train, &validation, width, seed)?;
                if let Some(accuracy) = nearest_neighbor {
                    context.emit(&Event::NearestNeighbor { accuracy });
                }
            }
            let task = Task {
                model,
                first_layer: samples.first_layer,
                weights: &weights,
                history: &history,
                training: &recipe.training,
                phase,
                resume: resume_of(number),
                train: train.augmented(recipe.augmentation),
                validation,
                device: self.device,
                pause_after: self.pause_after,
                cancel: &context.cancel,
            };
            let done = resume_of(number).map_or(0, |resume| resume.epochs);
            recorder.start(number, recipe.training.phases.len(), done, model);
            let fitted = fit(&task, &mut recorder);
            context.emit(&Event::BatchesFinished);
            let fitted = fitted?;
            weights = fitted.best;
            history = fitted.history;
            if fitted.stopped {
                return cancelled(weights, history);
            }
        }
        write_frozen(run, recipe, &weights, &pretrained, self.backbone)?;
        Ok(Trained {
            weights,
            history,
            finished: true,
            nearest_neighbor,
        })
    }
}

/// Returns the checksums of the tensors that no phase trains.
fn frozen_throughout(recipe: &Recipe, weights: &Weights) -> BTreeMap<String, String> {
    let layers = recipe.models().iter().flat_map(Model::layers);
    let trained: HashSet<&str> = layers
        .filter(|layer| !layer.frozen)
        .flat_map(|layer| &layer.params)
        .map(|param| param.name.as_str())
        .collect();
    let mut frozen = frozen_checksums(recipe.model(), weights);
    frozen.retain(|name, _| !trained.contains(name.as_str()));
    frozen
}

/// Writes the checksums of what stayed frozen to the end. They must be those from before the
/// training.
fn write_frozen(
    run: &RunDir,
    recipe: &Recipe,
    weights: &Weights,
    pretrained: &BTreeMap<String, String>,
    backbone: Option<&BackboneFile>,
) -> Result<()> {
    let mut frozen = frozen_throughout(recipe, weights);
    for (name, checksum) in &frozen {
        if pretrained
            .get(name)
            .is_some_and(|before| before != checksum)
        {
            return Err(TrainRunError::FrozenChanged { name: name.clone() }.into());
        }
    }
    // What stays in a file is proven where it is exported.
    if let Some(backbone) = backbone {
        let in_file = backbone.checksums()?.into_iter();
        frozen.extend(in_file.map(|(name, checksum)| (format!("backbone.{name}"), checksum)));
    }
    if !frozen.is_empty() {
        run.write_json(RunFile::Frozen, &frozen)?;
    }
    Ok(())
}

/// Reports each batch and epoch, and writes history and checkpoints.
struct Recorder<'a> {
    training: &'a Training<'a>,
    run: &'a RunDir,
    /// Number of epochs of all phases.
    epochs: usize,
    /// The phase, from 0.
    phase: usize,
    /// Number of epochs of the phases before.
    before: usize,
    history: History,
    /// The trained weights after the best epoch.
    best: Weights,
    epoch_start: Instant,
}

impl<'a> Recorder<'a> {
    /// Begins with the history and the best weights of the epochs before, if a training is resumed.
    fn new(training: &'a Training<'a>, run: &'a RunDir, history: History, best: Weights) -> Self {
        Self {
            training,
            run,
            epochs: training.recipe.training.epochs(),
            phase: 0,
            before: 0,
            history,
            best,
            epoch_start: Instant::now(),
        }
    }

    /// Begins a phase, or resumes it after `done` epochs.
    fn start(&mut self, number: usize, phases: usize, done: usize, model: &Model) {
        self.phase = number;
        self.before = self.history.epochs.len() - done;
        self.training.context.emit(&Event::PhaseStarted {
            number: number + 1,
            phases,
            trainable: model.counts().trainable,
        });
        self.epoch_start = Instant::now();
    }

    fn batch(&self, report: BatchReport, validating: bool) {
        self.training.context.emit(&Event::Batch {
            report,
            validating,
            epochs: self.epochs,
            history: &self.history,
            before_phase: self.before,
            elapsed: self.epoch_start.elapsed(),
        });
    }
}

impl Observer for Recorder<'_> {
    fn step(&mut self, report: BatchReport) {
        self.batch(report, false);
    }

    fn validation_step(&mut self, report: BatchReport) {
        self.batch(report, true);
    }

    fn not_converged(&mut self, epoch: &Epoch, iterations: usize, gradient: f64) {
        self.training.context.emit(&Event::NotConverged {
            penalty: epoch.penalty.unwrap_or_default(),
            iterations,
            gradient,
        });
    }

    fn epoch(&mut self, epoch: &Epoch, snapshot: &Snapshot, best: bool) -> Result<(), TrainError> {
        self.history.epochs.push(*epoch);
        if best {
            // Layers that only an earlier phase trained stay in it.
            self.best.extend(snapshot.validated().clone());
        }
        let checkpoint = Checkpoint {
            weights: snapshot.weights.clone(),
            average: snapshot.average.clone(),
            optimizer: snapshot.optimizer.clone(),
            progress: Progress {
                phase: self.phase,
                epochs: self.history.epochs.len() - self.before,
                history: self.history.clone(),
            },
        };
        self.run
            .write_epoch(&checkpoint, best.then_some(&self.best))
            .map_err(|error| TrainError::Observer(Box::new(error)))?;
        self.training
            .log(self.run, &self.history)
            .map_err(|error| TrainError::Observer(Box::new(error)))?;
        self.epoch_start = Instant::now();
        self.training.context.emit(&Event::EpochFinished {
            epoch,
            epochs: self.epochs,
            images_per_second: epoch.images_per_second.unwrap_or_default(),
            best,
        });
        Ok(())
    }
}
