//! Training phase by phase.

use std::collections::BTreeMap;
use std::sync::Arc;

use kiln_model::{Model, Recipe};
use kiln_preprocess::Preprocessor;
use kiln_run::{History, RunDir, RunFile, Weights};
use kiln_trainer::{Device, Resume, Task, fit, frozen_checksums};

use super::features::Prepared;
use super::progress::Recorder;
use super::start::Start;
use crate::context::Context;
use crate::dataset::Splits;
use crate::error::Result;
use crate::error::training::TrainRunError;
use crate::event::Event;

/// A training under way.
pub struct Training<'a> {
    pub recipe: &'a Recipe,
    pub splits: &'a Splits,
    pub run: &'a RunDir,
    pub device: &'a Device,
    pub context: &'a Context<'a>,
}

/// The result of a training, also of one that was cancelled.
pub struct Trained {
    /// The whole model's, after the best epoch.
    pub weights: Weights,
    pub history: History,
    pub finished: bool,
}

impl Training<'_> {
    /// Trains phase by phase.
    pub fn run(&self, from: &Start) -> Result<Trained> {
        let Self {
            recipe,
            splits,
            run,
            context,
            ..
        } = *self;
        let _watch = context.cancel.watch();
        let mut weights = from.weights.clone();
        let mut history = from.history.clone();
        let mut recorder = Recorder::new(self, history.clone(), from.trained.clone());
        let mut model = recipe.model();
        let pretrained = frozen_checksums(model, &weights);
        let preprocessor = Arc::new(Preprocessor::new(model.preprocessing().clone())?);
        // Augmented images are others in every epoch: there is nothing to compute once.
        let augmented = recipe.augmentation.is_some();
        let prefix = |layers| if augmented { 0 } else { layers };
        // Features after the layers that stay frozen in all phases serve all phases.
        let common = recipe.fixed_prefix();
        if augmented && common > 0 {
            context.emit(&Event::FeaturesNotKept);
        }
        let resume_of = |phase: usize| match &from.snapshot {
            Some(snapshot) if phase == from.phase => Some(Resume {
                epochs: from.epochs,
                snapshot,
            }),
            _ => None,
        };
        let cancelled = |weights, history| {
            Ok(Trained {
                weights,
                history,
                finished: false,
            })
        };
        let images = Prepared::images(splits, &preprocessor);
        let Some(common) = images.advance(prefix(common), model, &weights, self)? else {
            return cancelled(weights, history);
        };
        let phases = recipe
            .training
            .phases
            .iter()
            .zip(recipe.models())
            .enumerate();
        for (number, (phase, phase_model)) in phases.skip(from.phase) {
            model = phase_model;
            let first_layer = prefix(model.fixed_prefix());
            let Some(samples) = common.advance(first_layer, model, &weights, self)? else {
                return cancelled(weights, history);
            };
            let (train, validation) = samples.split(splits);
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
        write_frozen(run, model, &weights, &pretrained)?;
        Ok(Trained {
            weights,
            history,
            finished: true,
        })
    }
}

/// Writes the checksums of what stayed frozen to the end. They must be those from before the
/// training.
fn write_frozen(
    run: &RunDir,
    model: &Model,
    weights: &Weights,
    pretrained: &BTreeMap<String, String>,
) -> Result<()> {
    let frozen = frozen_checksums(model, weights);
    for (name, checksum) in &frozen {
        if pretrained
            .get(name)
            .is_some_and(|before| before != checksum)
        {
            return Err(TrainRunError::FrozenChanged { name: name.clone() }.into());
        }
    }
    if !frozen.is_empty() {
        run.write_json(RunFile::Frozen, &frozen)?;
    }
    Ok(())
}
