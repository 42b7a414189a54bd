//! Batch normalizations of unfolded convolutions, measured on the training images before they are trained.

use std::time::Instant;

use kiln_data::Samples;
use kiln_run::Weights;
use kiln_trainer::{UnfoldTask, unfold, unfolded_convs};

use super::phases::Training;
use super::start::{Start, unfolds};
use crate::error::Result;
use crate::error::training::TrainRunError;
use crate::event::{Event, Task};

/// Training images that are measured at most. Each has many pixels, and any scale is the same function:
/// more of them change the deviations by some percent.
const MOST_IMAGES: usize = 2048;

impl Training<'_> {
    /// Measures the outputs of unfolded convolutions, unless the run has done so, and changes their weights.
    /// `samples` are training samples as layer `first_layer` takes them, before the first layer that is
    /// trained. Returns whether it was not cancelled.
    pub fn unfold(
        &self,
        from: &Start,
        samples: &Samples,
        first_layer: usize,
        weights: &mut Weights,
    ) -> Result<bool> {
        let (run, context) = (self.run, self.context);
        if !unfolds(self.recipe) {
            return Ok(true);
        }
        if let Some(run) = run {
            if run.unfolded()?.is_some() {
                return Ok(true);
            }
            // What was trained since cannot be measured.
            if !from.history.epochs.is_empty() {
                let run = run.path().to_path_buf();
                return Err(TrainRunError::NotUnfolded { run }.into());
            }
        }
        let start = Instant::now();
        let seed = self.recipe.training.seed;
        let samples = samples.select(samples.view().take(MOST_IMAGES, seed));
        let layers = &self.recipe.model().layers()[first_layer..];
        let images = samples.view().len();
        let task = context.task(Task::Unfold, Some(images as u64));
        let measured = unfold(
            &UnfoldTask {
                layers,
                weights,
                samples: &samples,
                device: self.device,
                cancel: &context.cancel,
            },
            &mut |done, _| task.set(done as u64),
        )?;
        drop(task);
        let Some(measured) = measured else {
            return Ok(false);
        };
        if let Some(run) = run {
            run.write_unfolded(&measured)?;
        }
        weights.extend(measured);
        context.emit(&Event::Unfolded {
            convolutions: layers.iter().map(|layer| unfolded_convs(layer).len()).sum(),
            images,
            seconds: start.elapsed().as_secs_f64(),
        });
        Ok(true)
    }
}
