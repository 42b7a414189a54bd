//! What a training reports while it runs.

use kiln_data::LabelSets;
use kiln_metrics::{ClassCounts, DecisionCounts, argmax};
use kiln_run::{Epoch, Weights};

use crate::TrainError;

/// One step of training, or one batch of validation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchReport {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Images of this epoch so far, validation counted apart.
    pub done: usize,
    /// Images of the epoch in all, likewise.
    pub total: usize,
    /// Mean loss of the epoch so far, in nats.
    pub loss: f64,
    /// Accuracy of the epoch so far, from 0 to 1; where an image can have several classes, of the decisions about
    /// each.
    pub accuracy: f64,
}

/// Where the training of a phase stands after an epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Weights of the layers from the task's first on.
    pub weights: Weights,
    /// Their moving average, where the training has one.
    pub average: Option<Weights>,
    /// State of the optimizer, to be handed back unread.
    pub optimizer: Vec<u8>,
}

impl Snapshot {
    /// Returns the weights that were validated: the average, where there is one.
    pub fn validated(&self) -> &Weights {
        self.average.as_ref().unwrap_or(&self.weights)
    }

    /// Returns the weights that were validated.
    pub fn into_validated(self) -> Weights {
        self.average.unwrap_or(self.weights)
    }
}

/// Hears of a training's progress and keeps its results. It is called on a thread of rayon's pool.
///
/// Each callback does nothing unless it is implemented. What stops a training is not the observer,
/// but the task's [`CancelToken`](kiln_util::CancelToken), which an observer may hold too. `()`
/// observes nothing.
pub trait Observer: Send {
    /// Called after every training step.
    fn step(&mut self, report: BatchReport) {
        let _ = report;
    }

    /// Called after every validation batch.
    fn validation_step(&mut self, report: BatchReport) {
        let _ = report;
    }

    /// Called for a fit that ended before the gradient was small enough, after so many iterations, with
    /// the largest component of the gradient.
    fn not_converged(&mut self, epoch: &Epoch, iterations: usize, gradient: f64) {
        let _ = (epoch, iterations, gradient);
    }

    /// Called after every epoch with its figures, where the training stands, and whether it is the
    /// best so far.
    ///
    /// # Errors
    ///
    /// An error stops the training: results that cannot be kept are not worth computing.
    fn epoch(&mut self, epoch: &Epoch, snapshot: &Snapshot, best: bool) -> Result<(), TrainError> {
        let _ = (epoch, snapshot, best);
        Ok(())
    }
}

impl Observer for () {}

/// Loss and accuracy of an epoch: sums over the images so far.
#[derive(Debug, Clone)]
pub struct Running<'a> {
    /// The classes of each label.
    sets: &'a LabelSets,
    loss: f64,
    predictions: Predictions,
}

/// What was predicted of images with one class each, or with any number.
#[derive(Debug, Clone)]
enum Predictions {
    One(ClassCounts),
    Several(DecisionCounts),
}

impl<'a> Running<'a> {
    /// Begins with no image; labels are the numbers of these sets.
    pub fn new(sets: &'a LabelSets) -> Self {
        Self {
            sets,
            loss: 0.0,
            predictions: if sets.has_several() {
                Predictions::Several(DecisionCounts::default())
            } else {
                Predictions::One(ClassCounts::default())
            },
        }
    }

    /// Adds a batch of logits `[n, scores]` with its mean loss. Of exclusive classes, the largest logit is the
    /// prediction, the lowest class in a tie, or a single one above 0 the second class; else a class is predicted
    /// by a logit above 0.
    pub fn push(&mut self, loss: f64, logits: &[f32], labels: &[u32]) {
        let scores = logits.len() / labels.len();
        self.loss += loss * labels.len() as f64;
        for (row, &label) in logits.chunks_exact(scores).zip(labels) {
            match &mut self.predictions {
                Predictions::One(counts) => {
                    let predicted = match row {
                        [only] => usize::from(*only > 0.0),
                        several => argmax(several).unwrap_or_default(),
                    };
                    counts.record(label as usize, predicted);
                }
                Predictions::Several(counts) => {
                    let set = self.sets.of(label);
                    let decision = |(class, logit): (usize, &f32)| {
                        (set.contains(&(class as u32)), *logit > 0.0)
                    };
                    counts.record(row.iter().enumerate().map(decision));
                }
            }
        }
    }

    fn images(&self) -> u64 {
        match &self.predictions {
            Predictions::One(counts) => counts.images(),
            Predictions::Several(counts) => counts.images(),
        }
    }

    /// Returns them as a report.
    pub fn report(&self, epoch: usize, total: usize) -> BatchReport {
        BatchReport {
            epoch,
            done: self.images() as usize,
            total,
            loss: self.loss(),
            accuracy: self.accuracy(),
        }
    }

    /// Returns the mean loss in nats.
    pub fn loss(&self) -> f64 {
        self.loss / self.images() as f64
    }

    /// Returns the share of images classified correctly, or of right decisions.
    pub fn accuracy(&self) -> f64 {
        match &self.predictions {
            Predictions::One(counts) => counts.accuracy(),
            Predictions::Several(counts) => counts.accuracy(),
        }
    }

    /// Returns the mean F1 of the classes.
    pub fn macro_f1(&self) -> f64 {
        match &self.predictions {
            Predictions::One(counts) => counts.macro_f1(),
            Predictions::Several(counts) => counts.macro_f1(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_count_by_their_images() {
        let sets = LabelSets::exclusive(2);
        let mut running = Running::new(&sets);
        running.push(1.0, &[0.0, 1.0, 5.0, 2.0, 1.0, 1.0], &[1, 0, 1]);
        running.push(3.0, &[0.0, 1.0], &[1]);
        assert_eq!(running.report(2, 9).done, 4);
        assert!((running.loss() - 1.5).abs() < 1e-12);
        assert!((running.accuracy() - 0.75).abs() < 1e-12);
    }

    #[test]
    fn one_score_above_0_is_the_second_class() {
        let sets = LabelSets::exclusive(2);
        let mut running = Running::new(&sets);
        running.push(0.0, &[0.5, -0.5, 0.0, 2.0], &[1, 0, 0, 0]);
        assert!((running.accuracy() - 0.75).abs() < 1e-12);
    }

    #[test]
    fn of_several_classes_each_decision_counts() {
        let (sets, labels) = LabelSets::several([vec![0, 2], vec![]]);
        let mut running = Running::new(&sets);
        running.push(0.0, &[1.0, 1.0, -1.0, -1.0, -1.0, -1.0], &labels);
        assert_eq!(running.report(1, 2).done, 2);
        assert!((running.accuracy() - 4.0 / 6.0).abs() < 1e-12);
        assert!((running.macro_f1() - 1.0 / 3.0).abs() < 1e-12);
    }
}
