//! What is shown and kept while training runs.

use std::time::Instant;

use kiln_model::{Model, Phase};
use kiln_run::{Checkpoint, Epoch, History, Progress, RunDir, Weights};
use kiln_trainer::{BatchReport, Observer, Snapshot, TrainError};

use super::live::Live;
use crate::sign_of_life::SignOfLife;
use crate::terminal::Terminal;
use kiln_util::{counted, duration, percent, thousands};

/// Shows how the current epoch goes, prints a line per epoch, writes history and checkpoints.
pub struct TrainingProgress<'a> {
    run: &'a RunDir,
    terminal: &'a Terminal,
    epochs: usize,
    /// The phase, counted from 0.
    phase: usize,
    /// Epochs of the phases before.
    before: usize,
    history: History,
    /// The trained weights after the best epoch.
    best: Weights,
    live: Live<'a>,
    epoch_start: Instant,
    /// Training images per second in the current epoch, validation left out.
    rate: f64,
    sign_of_life: SignOfLife,
}

impl<'a> TrainingProgress<'a> {
    /// `history` and `best` are what there is of a training that is resumed.
    pub fn new(
        run: &'a RunDir,
        epochs: usize,
        history: History,
        best: Weights,
        terminal: &'a Terminal,
    ) -> Self {
        Self {
            run,
            terminal,
            epochs,
            phase: 0,
            before: 0,
            history,
            best,
            live: Live::new(terminal, epochs),
            epoch_start: Instant::now(),
            rate: 0.0,
            sign_of_life: SignOfLife::new(),
        }
    }

    /// A phase begins, or goes on after so many epochs; says so where there are several.
    pub fn start(&mut self, number: usize, phases: &[Phase], done: usize, model: &Model) {
        (self.phase, self.before) = (number, self.history.epochs.len() - done);
        if phases.len() > 1 {
            let trainable = counted(model.counts().trainable as u64, "parameter");
            self.terminal.status(
                "Phase",
                &format!("{}/{}: training {trainable}", number + 1, phases.len()),
            );
        }
        self.epoch_start = Instant::now();
        self.sign_of_life.said();
    }

    /// Takes what is drawn off the screen.
    pub fn finish(&mut self) {
        self.live.clear();
    }

    fn show(&mut self, report: BatchReport, phase: &str) {
        self.live
            .show(phase, report, &self.history, self.epoch_start.elapsed());
        let epochs = self.epochs;
        if self.live.is_hidden() && self.sign_of_life.is_due() {
            self.terminal.detail(&format!(
                "epoch {}/{epochs}: {} of {} images, loss {:.4}, accuracy {}",
                report.epoch,
                thousands(report.done),
                thousands(report.total),
                report.loss,
                percent(report.accuracy)
            ));
        }
    }
}

impl Observer for TrainingProgress<'_> {
    fn step(&mut self, report: BatchReport) {
        self.rate = report.done as f64 / self.epoch_start.elapsed().as_secs_f64();
        self.show(report, "Epoch");
    }

    fn validation_step(&mut self, report: BatchReport) {
        self.show(report, "Validating");
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
        self.sign_of_life.said();
        self.epoch_start = Instant::now();
        let width = self.epochs.to_string().len();
        let number = format!("{:>width$}/{}", epoch.epoch, self.epochs);
        let train = format!(
            "loss {:.4}  accuracy {}",
            epoch.train_loss,
            percent(epoch.train_accuracy)
        );
        let validation = format!(
            "val_loss {:.4}  val_accuracy {}",
            epoch.val_loss,
            percent(epoch.val_accuracy)
        );
        let time = format!(
            "{}  {} images/s",
            duration(epoch.seconds),
            thousands(self.rate.round() as usize)
        );
        let mark = if best { "  best" } else { "" };
        let line = format!("{number}  {train}  {validation}  {time}{mark}");
        if self.terminal.fits(&line) {
            self.terminal.status("Epoch", &line);
        } else {
            self.terminal
                .status("Epoch", &format!("{number}  {train}  {time}"));
            self.terminal.detail(&format!(
                "{:width$}  {validation}{mark}",
                "",
                width = number.len()
            ));
        }
        Ok(())
    }
}
