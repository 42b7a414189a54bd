//! A training's figures as other tools read them: `metrics.jsonl`, one JSON object per line, and an event
//! file for TensorBoard.
//!
//! Both are made anew of the history whenever there is one more epoch, and nothing reads them back: the
//! truth is the history in the last checkpoint. So whatever a killed process leaves, a resumed training
//! makes them hold each epoch once.

mod events;
#[cfg(test)]
mod golden;
mod proto;
mod record;

use kiln_model::Recipe;
use kiln_util::FileError;
use serde::Serialize;

use self::events::Timed;
use crate::{Epoch, RunDir, RunError, RunFile};

/// Figures of a training so far.
#[derive(Debug, Clone)]
pub struct TrainingLog<'a> {
    /// The resolved recipe.
    pub recipe: &'a Recipe,
    /// In order.
    pub epochs: Vec<LoggedEpoch>,
    /// Those of the test images, once they are measured.
    pub test: Option<TestFigures>,
}

/// An epoch, and where in the training it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoggedEpoch {
    /// The phase, from 1.
    pub phase: usize,
    /// Number of optimizer steps up to the end of the epoch; none of L-BFGS, which has no such steps.
    pub step: Option<u64>,
    /// Its figures.
    pub epoch: Epoch,
}

/// Figures of the exported model on the test images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TestFigures {
    /// The epoch whose weights were exported.
    pub epoch: usize,
    /// Number of images.
    #[serde(rename = "test_images")]
    pub images: u64,
    /// Mean cross-entropy in nats: of an image, or of a decision about a class where an image can have several.
    #[serde(rename = "test_loss")]
    pub loss: f64,
    /// Share of images classified correctly, or of decisions that are right, from 0 to 1.
    #[serde(rename = "test_accuracy")]
    pub accuracy: f64,
    /// Mean F1 of the classes, from 0 to 1.
    #[serde(rename = "test_macro_f1")]
    pub macro_f1: f64,
    /// Mean of the classes' average precisions, from 0 to 1, where an image can have several classes.
    #[serde(
        rename = "test_mean_average_precision",
        skip_serializing_if = "Option::is_none"
    )]
    pub mean_average_precision: Option<f64>,
}

/// A line of `metrics.jsonl`. Figures have the names that Keras gives them.
#[derive(Serialize)]
struct Line {
    phase: usize,
    epoch: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<u64>,
    loss: f64,
    accuracy: f64,
    val_loss: f64,
    val_accuracy: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    val_macro_f1: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    learning_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    penalty: Option<f64>,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    images_per_second: Option<f64>,
}

impl From<&LoggedEpoch> for Line {
    fn from(logged: &LoggedEpoch) -> Self {
        let LoggedEpoch { phase, step, epoch } = *logged;
        Self {
            phase,
            epoch: epoch.epoch,
            step,
            loss: epoch.train_loss,
            accuracy: epoch.train_accuracy,
            val_loss: epoch.val_loss,
            val_accuracy: epoch.val_accuracy,
            val_macro_f1: epoch.val_macro_f1,
            learning_rate: logged.learning_rate(),
            penalty: epoch.penalty,
            seconds: epoch.seconds,
            images_per_second: epoch.images_per_second,
        }
    }
}

impl LoggedEpoch {
    /// None of L-BFGS, which has none.
    fn learning_rate(&self) -> Option<f64> {
        let epoch = &self.epoch;
        epoch.penalty.is_none().then_some(epoch.learning_rate)
    }

    /// Its figures under the tags of TensorBoard.
    fn event(&self) -> Timed {
        let epoch = &self.epoch;
        let scalars = [
            ("train/loss", Some(epoch.train_loss)),
            ("train/accuracy", Some(epoch.train_accuracy)),
            ("validation/loss", Some(epoch.val_loss)),
            ("validation/accuracy", Some(epoch.val_accuracy)),
            ("validation/macro_f1", epoch.val_macro_f1),
            ("optimizer/learning_rate", self.learning_rate()),
            ("optimizer/penalty", epoch.penalty),
            ("time/seconds", Some(epoch.seconds)),
            ("time/images_per_second", epoch.images_per_second),
            ("phase", Some(self.phase as f64)),
        ];
        Timed::scalars(epoch.epoch, &scalars).after(epoch.seconds)
    }
}

impl TestFigures {
    fn event(&self) -> Timed {
        let scalars = [
            ("test/loss", Some(self.loss)),
            ("test/accuracy", Some(self.accuracy)),
            ("test/macro_f1", Some(self.macro_f1)),
            ("test/mean_average_precision", self.mean_average_precision),
        ];
        Timed::scalars(self.epoch, &scalars)
    }
}

impl TrainingLog<'_> {
    /// Encodes it as JSON, one object per line: one for each epoch, then one of the test images. Figures have
    /// as many digits as it takes to read back the same number.
    pub fn to_json_lines(&self) -> String {
        const NUMBERS: &str = "numbers can be written as JSON";
        let epochs = self.epochs.iter();
        let epochs = epochs.map(|epoch| serde_json::to_string(&Line::from(epoch)).expect(NUMBERS));
        let test = self.test.iter();
        let test = test.map(|test| serde_json::to_string(test).expect(NUMBERS));
        epochs.chain(test).map(|line| line + "\n").collect()
    }

    fn events(&self) -> Vec<Timed> {
        // In Markdown, lines with four blanks are shown as they are.
        let recipe = self.recipe.to_toml();
        let lines: Vec<&str> = recipe.lines().collect();
        let markdown = format!("    {}\n", lines.join("\n    "));
        let start = [
            Timed::version(),
            Timed::text("recipe", &markdown),
            Timed::hparams(self.recipe.settings()),
        ];
        let epochs = self.epochs.iter().map(LoggedEpoch::event);
        let test = self.test.iter().map(TestFigures::event);
        start.into_iter().chain(epochs).chain(test).collect()
    }
}

impl RunDir {
    /// Writes the figures so far as `metrics.jsonl`, and where the run has an event file or is to get one, there
    /// too.
    ///
    /// # Errors
    ///
    /// [`RunError::File`] if a file cannot be written.
    pub fn write_log(&self, log: &TrainingLog<'_>, tensorboard: bool) -> Result<(), RunError> {
        self.write(RunFile::Metrics, log.to_json_lines().as_bytes())?;
        let path = self.file(RunFile::Events);
        if tensorboard || path.exists() {
            events::sync(&path, &log.events())
                .map_err(|source| FileError::Write { path, source })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
