//! Phase by phase.

use std::collections::BTreeMap;
use std::sync::Arc;

use kiln_inference::Preprocessor;
use kiln_model::{Model, Recipe};
use kiln_run::{History, RunDir, RunFile, Weights};
use kiln_trainer::{Device, Resume, Task, fit, frozen_checksums};

use super::features::Prepared;
use super::progress::TrainingProgress;
use super::start::Start;
use crate::commands::Context;
use crate::dataset::Sets;
use crate::interrupt::{self, Polling};

/// What training gave, also if the user stopped it.
pub struct Trained {
    pub weights: Weights,
    pub history: History,
    pub stopped: bool,
}

/// Trains phase by phase.
pub fn phases(
    recipe: &Recipe,
    from: &Start,
    sets: &Sets,
    run: &RunDir,
    device: &Device,
    context: &Context<'_>,
) -> anyhow::Result<Trained> {
    let _polling = Polling::begin();
    let (mut weights, mut history) = (from.weights.clone(), from.history.clone());
    let (epochs, trained) = (recipe.training.epochs(), from.trained.clone());
    let mut progress =
        TrainingProgress::new(run, epochs, history.clone(), trained, context.terminal);
    let mut model = recipe.model();
    let pretrained = frozen_checksums(model, &weights);
    // Features behind the layers that stay frozen in all phases serve all phases.
    let preprocessor = Arc::new(Preprocessor::new(model.preprocessing().clone())?);
    // Augmented images are others in every epoch: there is nothing to compute once.
    let prefix = |layers| {
        if recipe.augmentation.is_some() {
            0
        } else {
            layers
        }
    };
    let common = prefix(recipe.fixed_prefix());
    if recipe.augmentation.is_some() && recipe.fixed_prefix() > 0 {
        let text = "frozen layers run on every image in every epoch: features of augmented images cannot be kept";
        context.terminal.status("Augmenting", text);
    }
    let resume_of = |phase: usize| match &from.snapshot {
        Some(snapshot) if phase == from.phase => Some(Resume {
            epochs: from.epochs,
            snapshot,
        }),
        _ => None,
    };
    let stop = |weights, history| {
        Ok(Trained {
            weights,
            history,
            stopped: true,
        })
    };
    let images = Prepared::images(sets, &preprocessor);
    let Some(common) = images.advance(common, model, &weights, device, context)? else {
        return stop(weights, history);
    };
    for (number, (phase, phase_model)) in recipe
        .training
        .phases
        .iter()
        .zip(recipe.models())
        .enumerate()
        .skip(from.phase)
    {
        model = phase_model;
        let Some(samples) = common.advance(
            prefix(model.fixed_prefix()),
            model,
            &weights,
            device,
            context,
        )?
        else {
            return stop(weights, history);
        };
        let (train, validation) = samples.split(sets);
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
            device,
            cancel: interrupt::token(),
        };
        progress.start(
            number,
            &recipe.training.phases,
            resume_of(number).map_or(0, |resume| resume.epochs),
            model,
        );
        let fitted = fit(&task, &mut progress);
        progress.finish();
        let fitted = fitted?;
        (weights, history) = (fitted.best, fitted.history);
        if fitted.stopped {
            return stop(weights, history);
        }
    }
    write_frozen(run, model, &weights, &pretrained)?;
    Ok(Trained {
        weights,
        history,
        stopped: false,
    })
}

/// Writes the checksums of what stayed frozen to the end. They must be those from before the
/// training.
fn write_frozen(
    run: &RunDir,
    model: &Model,
    weights: &Weights,
    pretrained: &BTreeMap<String, String>,
) -> anyhow::Result<()> {
    let frozen = frozen_checksums(model, weights);
    for (name, checksum) in &frozen {
        if pretrained
            .get(name)
            .is_some_and(|before| before != checksum)
        {
            anyhow::bail!(
                "tensor `{name}` is frozen, but its checksum changed: this is a bug in kiln, please report it"
            );
        }
    }
    if !frozen.is_empty() {
        run.write_json(RunFile::Frozen, &frozen)?;
    }
    Ok(())
}
