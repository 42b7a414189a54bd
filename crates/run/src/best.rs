//! Which weights are a run's best, whenever it is looked at: after an epoch, a stop, a kill at any
//! moment, a resume, or the end.
//!
//! The truth is the history in `checkpoints/last.safetensors`, which one rename replaces: it names
//! the best epoch. Everything else follows from it, in this order:
//!
//! 1. `weights.safetensors`, which is the best weights of an earlier stop, is removed if the epoch
//!    is better than those;
//! 2. `checkpoints/last.safetensors` is written: the epoch is done;
//! 3. `checkpoints/best.safetensors` is written, if the epoch is the best. It holds the number of
//!    its epoch. A process killed before this leaves one of an older epoch, and then the best
//!    weights are those of the last checkpoint;
//! 4. `history.csv` is written, a copy of the history for people.
//!
//! At a stop and at the end, `weights.safetensors` is written: the whole model's weights, of which
//! the best checkpoint has those that training changed. Runs of older versions have best
//! checkpoints without a number, written before the last checkpoint, and may have a
//! `weights.safetensors` that is older than both: tensors of a checkpoint take precedence.

use std::fs::{self, File};
use std::io;

use kiln_model::Monitor;
use kiln_util::FileError;

use crate::checkpoint::{read_header, read_note};
use crate::weights::Extras;
use crate::{Checkpoint, Epoch, History, Progress, RunDir, RunError, RunFile, Weights};

/// Key of the epoch in the metadata of the best checkpoint.
const EPOCH: &str = "kiln.epoch";

/// The weights after a run's best epoch so far.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct BestWeights {
    /// Those that training changed, and the others where the run's files have them. What is missing
    /// is frozen, and has the values that training began with.
    pub weights: Weights,
    /// The epoch that gave them, where it is known.
    pub epoch: Option<Epoch>,
    /// How far the training is, where it is known.
    pub progress: Option<Progress>,
}

/// From where a training is resumed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Resumption {
    /// Where it stood after its last epoch.
    pub checkpoint: Checkpoint,
    /// The trained weights after the best epoch.
    pub best: Weights,
}

/// The trained weights after the best epoch, as found in the checkpoints.
struct Trained {
    weights: Weights,
    epoch: Option<Epoch>,
    /// Whether the best checkpoint is exactly this.
    recorded: bool,
}

impl RunDir {
    /// Keeps what an epoch gave: where the training stands, and the trained weights after the best
    /// epoch if this is it. A process that is killed meanwhile leaves either state.
    ///
    /// # Errors
    ///
    /// [`RunError::File`] if a file cannot be written.
    pub fn write_epoch(
        &self,
        checkpoint: &Checkpoint,
        best: Option<&Weights>,
    ) -> Result<(), RunError> {
        let history = &checkpoint.progress.history;
        if best.is_some() {
            self.remove(RunFile::Weights)?;
        }
        self.write(RunFile::LastCheckpoint, &checkpoint.to_bytes())?;
        if let Some(best) = best {
            self.write_best(best, history.epochs.last())?;
        }
        self.write(RunFile::History, history.to_csv().as_bytes())
    }

    /// Writes the best weights of the whole model, when a training ends or is stopped.
    ///
    /// # Errors
    ///
    /// [`RunError::File`] if the file cannot be written.
    pub fn write_weights(&self, weights: &Weights) -> Result<(), RunError> {
        self.write(RunFile::Weights, &weights.to_bytes())
    }

    /// Writes the weights of unfolded convolutions, once they are measured.
    ///
    /// # Errors
    ///
    /// [`RunError::File`] if the file cannot be written.
    pub fn write_unfolded(&self, weights: &Weights) -> Result<(), RunError> {
        self.write(RunFile::Unfolded, &weights.to_bytes())
    }

    /// Writes the weights of another run that the training begins with.
    ///
    /// # Errors
    ///
    /// [`RunError::File`] if the file cannot be written.
    pub fn write_initial(&self, weights: &Weights) -> Result<(), RunError> {
        self.write(RunFile::Initial, &weights.to_bytes())
    }

    /// Reads what [`write_initial`](Self::write_initial) wrote; nothing where there is none.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`] or [`RunError::Weights`].
    pub fn initial(&self) -> Result<Option<Weights>, RunError> {
        self.weights_of(RunFile::Initial)
    }

    /// Reads what [`write_unfolded`](Self::write_unfolded) wrote; nothing before they are measured.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`] or [`RunError::Weights`].
    pub fn unfolded(&self) -> Result<Option<Weights>, RunError> {
        self.weights_of(RunFile::Unfolded)
    }

    /// Reads the best weights so far, judged by that figure; nothing before the first epoch is
    /// done.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`], [`RunError::Content`] or [`RunError::Weights`].
    pub fn best_weights(&self, monitor: Monitor) -> Result<Option<BestWeights>, RunError> {
        let progress = self.progress(monitor)?;
        let history = match &progress {
            Some(progress) => progress.history.clone(),
            None => self.history(monitor)?,
        };
        let whole = self.weights_of(RunFile::Weights)?;
        let trained = self.trained(&history, || Ok(self.checkpoint()?.weights))?;
        let (weights, epoch) = match (whole, trained) {
            (None, None) => return Ok(None),
            (Some(whole), None) => (whole, history.best().copied()),
            (None, Some(trained)) => (trained.weights, trained.epoch),
            (Some(mut whole), Some(trained)) => {
                whole.extend(trained.weights);
                (whole, trained.epoch)
            }
        };
        Ok(Some(BestWeights {
            weights,
            epoch,
            progress,
        }))
    }

    /// Reads from where the training is resumed, and completes what a killed process did not come
    /// to write; nothing before the first epoch is done. The run must be
    /// [locked](RunDir::lock).
    ///
    /// # Errors
    ///
    /// Those of reading and writing.
    pub fn resume(&self, monitor: Monitor) -> Result<Option<Resumption>, RunError> {
        if !self.file(RunFile::LastCheckpoint).exists() {
            return Ok(None);
        }
        let mut checkpoint = self.checkpoint()?;
        let history = &mut checkpoint.progress.history;
        history.monitor = monitor;
        let trained = self.trained(history, || Ok(checkpoint.weights.clone()))?;
        if let Some(trained) = trained.as_ref().filter(|trained| !trained.recorded) {
            self.write_best(&trained.weights, trained.epoch.as_ref())?;
        }
        if self.history(monitor).ok().as_ref() != Some(&*history) {
            self.write(RunFile::History, history.to_csv().as_bytes())?;
        }
        Ok(Some(Resumption {
            best: trained.map(|trained| trained.weights).unwrap_or_default(),
            checkpoint,
        }))
    }

    fn checkpoint(&self) -> Result<Checkpoint, RunError> {
        Checkpoint::from_bytes(&self.read(RunFile::LastCheckpoint)?).map_err(|source| {
            RunError::Weights {
                path: self.file(RunFile::LastCheckpoint),
                source,
            }
        })
    }

    /// Reads how far the training is, its epochs judged by that figure; nothing before the first is done, or where
    /// the checkpoints were removed. Of the last checkpoint, only the header is read.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`] or [`RunError::Weights`].
    pub fn progress(&self, monitor: Monitor) -> Result<Option<Progress>, RunError> {
        let path = self.file(RunFile::LastCheckpoint);
        let header = match File::open(&path).and_then(read_header) {
            Ok(header) => header,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(RunError::Read { path, source }),
        };
        let mut progress =
            Progress::from_header(&header).map_err(|source| RunError::Weights { path, source })?;
        progress.history.monitor = monitor;
        Ok(Some(progress))
    }

    /// The trained weights after the best epoch of a history. `last` gives those of the last
    /// checkpoint, which is only asked if they are needed.
    fn trained(
        &self,
        history: &History,
        last: impl FnOnce() -> Result<Weights, RunError>,
    ) -> Result<Option<Trained>, RunError> {
        let best = history.best().copied();
        let is_last = best.is_some() && best.as_ref() == history.epochs.last();
        let file = self.file(RunFile::BestCheckpoint);
        let (mut weights, number) = if file.exists() {
            let bytes = self.read(RunFile::BestCheckpoint)?;
            let malformed = |source| RunError::Weights {
                path: file.clone(),
                source,
            };
            let weights = Weights::from_bytes(&bytes).map_err(malformed)?;
            (Some(weights), read_note(&bytes, EPOCH).map_err(malformed)?)
        } else {
            (None, None)
        };
        let number: Option<usize> = number.and_then(|number| number.parse().ok());
        let is_best = number.is_some() && number == best.map(|best| best.epoch);
        let is_old = weights.is_some() && number.is_none();
        if !is_best && !is_old && is_last && self.file(RunFile::LastCheckpoint).exists() {
            // Layers that only an earlier phase trained are not in it.
            weights.get_or_insert_default().extend(last()?);
            return Ok(weights.map(|weights| Trained {
                weights,
                epoch: best,
                recorded: false,
            }));
        }
        // A recipe that was changed by hand may name another figure as the one that counts: the
        // epoch is then the one whose weights there are.
        let epoch = match number {
            Some(number) => history
                .epochs
                .iter()
                .find(|epoch| epoch.epoch == number)
                .copied(),
            None => best,
        };
        Ok(weights.map(|weights| Trained {
            weights,
            epoch,
            recorded: !is_old,
        }))
    }

    fn write_best(&self, weights: &Weights, epoch: Option<&Epoch>) -> Result<(), RunError> {
        let note = epoch.map(|epoch| (EPOCH, epoch.epoch.to_string()));
        let extras = Extras {
            note,
            ..Extras::default()
        };
        self.write(RunFile::BestCheckpoint, &weights.encode(extras))
    }

    /// Weights from a file, if it is there.
    fn weights_of(&self, file: RunFile) -> Result<Option<Weights>, RunError> {
        if self.file(file).exists() {
            self.weights(file).map(Some)
        } else {
            Ok(None)
        }
    }

    fn remove(&self, file: RunFile) -> Result<(), RunError> {
        let path = self.file(file);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(FileError::Write { path, source }.into())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use kiln_model::Recipe;

    use super::*;
    use crate::Tensor;

    /// The files in the order in which an epoch changes them.
    const STEPS: [RunFile; 4] = [
        RunFile::Weights,
        RunFile::LastCheckpoint,
        RunFile::BestCheckpoint,
        RunFile::History,
    ];

    fn run() -> (tempfile::TempDir, RunDir) {
        let root = tempfile::tempdir().unwrap();
        let text = "layers = [{ type = \"flatten\" }, { type = \"dense\", units = 10 }]";
        let recipe = Recipe::parse(text, "small.toml", "small", &[]).unwrap();
        let (run, _) = RunDir::create(root.path(), &recipe).unwrap();
        (root, run)
    }

    fn weights(names: &[&str], value: f32) -> Weights {
        let tensor = Tensor {
            shape: vec![1],
            data: vec![value],
        };
        let tensors = names
            .iter()
            .map(|name| ((*name).to_owned(), tensor.clone()));
        tensors.collect()
    }

    fn value(weights: &Weights, name: &str) -> i64 {
        weights.get(name).unwrap().data[0] as i64
    }

    /// What happens to a training.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Event {
        Better,
        Worse,
        /// Killed after so many of the steps that keep an epoch, which is the best or not; then
        /// resumed.
        Killed(bool, usize),
        /// Stopped, and resumed.
        Stopped,
    }

    const EVENTS: [Event; 7] = [
        Event::Better,
        Event::Worse,
        Event::Killed(true, 1),
        Event::Killed(true, 2),
        Event::Killed(true, 3),
        Event::Killed(false, 2),
        Event::Stopped,
    ];

    /// A training whose weights after an epoch are the epoch's number, in a model with a frozen
    /// layer; with what should be found.
    struct Training {
        run: RunDir,
        history: History,
        best: Weights,
        /// Whether the frozen layer's weights were written.
        whole: bool,
    }

    impl Training {
        fn new(run: RunDir) -> Self {
            Self {
                run,
                history: History::default(),
                best: Weights::default(),
                whole: false,
            }
        }

        /// One more epoch, of which only the first `steps` are written.
        fn epoch(&mut self, better: bool, steps: usize) {
            let number = self.history.epochs.len() + 1;
            let loss = self.history.best().map_or(1.0, |best| best.val_loss);
            let epoch = Epoch {
                epoch: number,
                train_loss: 0.5,
                train_accuracy: 0.5,
                val_loss: if better { loss / 2.0 } else { loss * 2.0 },
                val_accuracy: 0.5,
                val_macro_f1: None,
                learning_rate: 0.1,
                seconds: 1.0,
                penalty: None,
                images_per_second: None,
            };
            let mut history = self.history.clone();
            history.epochs.push(epoch);
            let best = history.best() == Some(&epoch);
            let now = weights(&["head.weight"], number as f32);
            let mut best_weights = self.best.clone();
            best_weights.extend(now.clone());
            let checkpoint = Checkpoint {
                average: None,
                weights: now,
                optimizer: vec![1],
                progress: Progress {
                    phase: 0,
                    epochs: number,
                    history: history.clone(),
                },
            };
            let before = STEPS.map(|file| self.run.read(file).ok());
            let best_weights = best.then_some(best_weights);
            self.run
                .write_epoch(&checkpoint, best_weights.as_ref())
                .unwrap();
            for (file, before) in STEPS.into_iter().zip(before).skip(steps) {
                match before {
                    Some(bytes) => self.run.write(file, &bytes).unwrap(),
                    None => self.run.remove(file).unwrap(),
                }
            }
            if best {
                self.whole = false;
            }
            // The last checkpoint, the second step, is what counts.
            if steps >= 2 {
                self.history = history;
                self.best = best_weights.unwrap_or_else(|| self.best.clone());
            }
        }

        fn happens(&mut self, event: Event) {
            match event {
                Event::Better => self.epoch(true, STEPS.len()),
                Event::Worse => self.epoch(false, STEPS.len()),
                Event::Killed(better, steps) => {
                    self.epoch(better, steps);
                    self.check();
                    self.resume();
                }
                Event::Stopped => {
                    if !self.history.epochs.is_empty() {
                        let mut all = weights(&["base.weight"], -1.0);
                        all.extend(self.best.clone());
                        self.run.write_weights(&all).unwrap();
                        self.whole = true;
                    }
                    self.check();
                    self.resume();
                }
            }
            self.check();
        }

        /// What an export finds.
        fn check(&self) {
            let monitor = Monitor::default();
            let found = self.run.best_weights(monitor).unwrap();
            let Some(best) = self.history.best() else {
                assert!(found.is_none());
                return;
            };
            let found = found.unwrap();
            assert_eq!(value(&found.weights, "head.weight"), best.epoch as i64);
            assert_eq!(found.epoch.as_ref(), Some(best));
            assert_eq!(found.progress.unwrap().history, self.history);
            assert_eq!(found.weights.get("base.weight").is_some(), self.whole);
            // Nor does a file say anything else to whoever reads it without this crate.
            if let Some(whole) = self.run.weights_of(RunFile::Weights).unwrap() {
                assert_eq!(value(&whole, "head.weight"), best.epoch as i64);
            }
        }

        /// What a resumed training finds, and leaves before it trains.
        fn resume(&self) {
            let found = self.run.resume(Monitor::default()).unwrap();
            let Some(best) = self.history.best() else {
                assert!(found.is_none());
                return;
            };
            let found = found.unwrap();
            assert_eq!(found.best, self.best);
            assert_eq!(found.checkpoint.progress.history, self.history);
            let file = self.run.weights(RunFile::BestCheckpoint).unwrap();
            assert_eq!(value(&file, "head.weight"), best.epoch as i64);
            assert_eq!(self.run.history(Monitor::default()).unwrap(), self.history);
        }
    }

    #[test]
    fn the_best_weights_are_found_in_every_order_of_epochs_stops_and_kills() {
        // One training, as every write waits for the disk.
        let (_root, run) = run();
        let mut training = Training::new(run);
        for first in EVENTS {
            for second in EVENTS {
                training.happens(first);
                training.happens(second);
            }
        }
    }

    #[test]
    fn every_event_may_be_the_first() {
        for event in EVENTS {
            let (_root, run) = run();
            let mut training = Training::new(run);
            training.happens(event);
            training.happens(Event::Better);
        }
    }

    #[test]
    fn a_training_that_is_killed_after_it_was_resumed_is_exported_with_its_newer_weights() {
        let (_root, run) = run();
        let mut training = Training::new(run);
        for event in [
            Event::Better,
            Event::Stopped,
            Event::Better,
            Event::Killed(true, 2),
            Event::Worse,
            Event::Stopped,
            // The finished training, resumed and stopped once more: nothing changes.
            Event::Stopped,
        ] {
            training.happens(event);
        }
        let best = training.run.best_weights(Monitor::default()).unwrap();
        assert_eq!(best.unwrap().epoch.unwrap().epoch, 3);
    }

    #[test]
    fn nothing_is_found_before_the_first_epoch() {
        let (_root, run) = run();
        assert_eq!(run.best_weights(Monitor::default()).unwrap(), None);
        assert_eq!(run.resume(Monitor::default()).unwrap(), None);
    }

    #[test]
    fn layers_that_an_earlier_phase_trained_stay_the_best() {
        let (_root, run) = run();
        let mut training = Training::new(run);
        training.best = weights(&["neck.weight"], 7.0);
        training.happens(Event::Better);
        // The last checkpoint has the head alone.
        training.happens(Event::Killed(true, 2));
        let best = training.run.best_weights(Monitor::default()).unwrap();
        assert_eq!(value(&best.unwrap().weights, "neck.weight"), 7);
    }

    #[test]
    fn runs_of_older_versions_are_read() {
        let (_root, run) = run();
        let mut training = Training::new(run);
        training.happens(Event::Better);
        training.happens(Event::Better);
        let run = &training.run;
        // No number in the best checkpoint, and weights of an earlier stop beside it.
        run.write_best(&training.best, None).unwrap();
        let mut old = weights(&["base.weight"], -1.0);
        old.extend(weights(&["head.weight"], 1.0));
        run.write_weights(&old).unwrap();
        let best = run.best_weights(Monitor::default()).unwrap().unwrap();
        assert_eq!(value(&best.weights, "head.weight"), 2);
        assert_eq!(value(&best.weights, "base.weight"), -1);
        assert_eq!(best.epoch.unwrap().epoch, 2);
        // Resuming adds the number.
        assert_eq!(
            run.resume(Monitor::default()).unwrap().unwrap().best,
            training.best
        );
        let bytes = run.read(RunFile::BestCheckpoint).unwrap();
        assert_eq!(read_note(&bytes, EPOCH).unwrap().as_deref(), Some("2"));
        // Without checkpoints.
        fs::remove_dir_all(run.path().join("checkpoints")).unwrap();
        let best = run.best_weights(Monitor::default()).unwrap().unwrap();
        assert_eq!((best.weights, best.progress), (old, None));
        assert_eq!(best.epoch.unwrap().epoch, 2);
    }
}
