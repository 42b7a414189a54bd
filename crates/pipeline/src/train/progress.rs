//! What is reported and kept while training runs.

use std::time::Instant;

use kiln_model::Model;
use kiln_run::{Checkpoint, Epoch, History, Progress, RunDir, Weights};
use kiln_trainer::{BatchReport, Observer, Snapshot, TrainError};

use super::phases::Training;
use crate::context::Context;
use crate::event::Event;

/// Reports each batch and epoch, and writes history and checkpoints.
pub struct Recorder<'a> {
    run: &'a RunDir,
    context: &'a Context<'a>,
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
    /// Training images per second in the current epoch, without validation.
    rate: f64,
}

impl<'a> Recorder<'a> {
    /// Begins with the history and the best weights of the epochs before, if a training is resumed.
    pub fn new(training: &Training<'a>, history: History, best: Weights) -> Self {
        Self {
            run: training.run,
            context: training.context,
            epochs: training.recipe.training.epochs(),
            phase: 0,
            before: 0,
            history,
            best,
            epoch_start: Instant::now(),
            rate: 0.0,
        }
    }

    /// Begins a phase, or resumes it after `done` epochs.
    pub fn start(&mut self, number: usize, phases: usize, done: usize, model: &Model) {
        self.phase = number;
        self.before = self.history.epochs.len() - done;
        self.context.emit(&Event::PhaseStarted {
            number: number + 1,
            phases,
            trainable: model.counts().trainable,
        });
        self.epoch_start = Instant::now();
    }

    fn batch(&self, report: BatchReport, validating: bool) {
        self.context.emit(&Event::Batch {
            report,
            validating,
            epochs: self.epochs,
            history: &self.history,
            elapsed: self.epoch_start.elapsed(),
        });
    }
}

impl Observer for Recorder<'_> {
    fn step(&mut self, report: BatchReport) {
        self.rate = report.done as f64 / self.epoch_start.elapsed().as_secs_f64();
        self.batch(report, false);
    }

    fn validation_step(&mut self, report: BatchReport) {
        self.batch(report, true);
    }

    fn epoch(&mut self, epoch: &Epoch, snapshot: &Snapshot, best: bool) -> Result<(), TrainError> {
        self.history.epochs.push(*epoch);
        if best {
            // Layers that only an earlier phase trained stay in it.
            self.best.extend(snapshot.weights.clone());
        }
        let checkpoint = Checkpoint {
            weights: snapshot.weights.clone(),
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
        self.epoch_start = Instant::now();
        self.context.emit(&Event::EpochFinished {
            epoch,
            epochs: self.epochs,
            images_per_second: self.rate,
            best,
        });
        Ok(())
    }
}
