//! Accuracy, loss and scores by class: batches in, one [`Evaluation`] out.

use serde::{Deserialize, Serialize};

use crate::MetricsError;
use crate::calibration::{Calibration, CalibrationSums};
use crate::confusion::ConfusionMatrix;
use crate::logits::{argmax, confidence, cross_entropy, rank};

/// Scores of a classifier on a dataset; made by [`Evaluator`](crate::Evaluator).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Number of images, at least 1.
    pub images: u64,
    /// Share of images whose class was predicted, 0 to 1.
    pub accuracy: f64,
    /// Share of images whose class is among the 5 largest outputs, 0 to 1;
    /// `None` where there are no more classes than that, since then it is always 1.
    pub top5_accuracy: Option<f64>,
    /// The same for another number of outputs, if it was asked for and there are more classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<TopK>,
    /// Mean cross-entropy in nats, as Keras's and PyTorch's loss.
    pub loss: f64,
    /// Scores of each class, in the order of the model's outputs.
    pub classes: Vec<ClassMetrics>,
    /// Mean score of the classes that occur among the images or the predictions.
    ///
    /// As in scikit-learn with its default `labels`: a class that has no image and was never
    /// predicted is left out, since nothing is known of it. One that has no image and was predicted
    /// counts with a precision of 0, and one that was never predicted with a recall of 0.
    pub macro_average: Average,
    /// Mean score of the classes, weighted by their number of images.
    pub weighted_average: Average,
    /// Counts by true and predicted class.
    pub confusion: ConfusionMatrix,
    /// Calibration of the confidence; absent in files of early versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
}

/// Accuracy where several guesses are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TopK {
    /// Number of guesses.
    pub k: usize,
    /// Share of images whose class is among the `k` largest outputs, 0 to 1.
    pub accuracy: f64,
}

impl Evaluation {
    /// Returns the classes' names, in the order of the model's outputs.
    pub fn labels(&self) -> Vec<&str> {
        self.classes
            .iter()
            .map(|class| class.label.as_str())
            .collect()
    }
}

/// Scores of one class.
///
/// Where a denominator is zero the score is 0, as with scikit-learn's `zero_division=0`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassMetrics {
    /// The class's name.
    pub label: String,
    /// Of the images predicted as this class, the share that are of it, 0 to 1.
    pub precision: f64,
    /// Of the images of this class, the share predicted as it, 0 to 1.
    pub recall: f64,
    /// Harmonic mean of precision and recall, `2 tp / (2 tp + fp + fn)`, 0 to 1.
    pub f1: f64,
    /// Number of images of this class.
    pub support: u64,
}

/// Precision, recall and F1 averaged over classes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Average {
    /// Average of the classes' precisions, 0 to 1.
    pub precision: f64,
    /// Average of the classes' recalls, 0 to 1.
    pub recall: f64,
    /// Average of the classes' F1 scores (not the F1 of the averages), 0 to 1.
    pub f1: f64,
}

/// Scores of every class; `labels` are as many as the matrix has classes.
fn class_metrics(confusion: &ConfusionMatrix, labels: &[String]) -> Vec<ClassMetrics> {
    let (support, predicted) = (confusion.support(), confusion.predicted());
    let diagonal =
        (0..confusion.classes()).map(|class| confusion.get(class, class).unwrap_or_default());
    diagonal
        .zip(labels)
        .zip(support.into_iter().zip(predicted))
        .map(|((hits, label), (support, predicted))| ClassMetrics {
            label: label.clone(),
            precision: ratio(hits as f64, predicted as f64),
            recall: ratio(hits as f64, support as f64),
            f1: ratio(2.0 * hits as f64, support as f64 + predicted as f64),
            support,
        })
        .collect()
}

impl Average {
    /// Averages the classes that occur among images or predictions, all with the same weight.
    fn unweighted(classes: &[ClassMetrics], confusion: &ConfusionMatrix) -> Self {
        let predicted = confusion.predicted();
        let occurring = classes.iter().zip(predicted);
        let occurring = occurring.filter(|(class, predicted)| class.support + predicted > 0);
        let occurring: Vec<ClassMetrics> = occurring.map(|(class, _)| class.clone()).collect();
        Self::weighted_by(&occurring, |_| 1.0)
    }

    /// Averages the classes weighted by their support, so that every image counts the same.
    fn by_support(classes: &[ClassMetrics]) -> Self {
        Self::weighted_by(classes, |class| class.support as f64)
    }

    fn weighted_by(classes: &[ClassMetrics], weight: impl Fn(&ClassMetrics) -> f64) -> Self {
        let total: f64 = classes.iter().map(&weight).sum();
        let average = |score: fn(&ClassMetrics) -> f64| {
            ratio(
                classes
                    .iter()
                    .map(|class| weight(class) * score(class))
                    .sum(),
                total,
            )
        };
        Self {
            precision: average(|c| c.precision),
            recall: average(|c| c.recall),
            f1: average(|c| c.f1),
        }
    }
}

/// `part / whole`, and 0 where the whole is 0.
pub(crate) fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

/// The `k` of [`Evaluation::top5_accuracy`].
const TOP_K: usize = 5;

/// Largest excess of a probability over 1, and largest distance of a row's sum from 1. Softmax in half precision
/// stays within.
const PROBABILITY_SLACK: f64 = 1e-2;

/// Probabilities are clipped to `CLIP..=1 - CLIP` before the logarithm, as Keras does
/// (`keras.config.epsilon()`).
const CLIP: f64 = 1e-7;

/// Adds up what a classifier predicts, batch by batch, and makes an [`Evaluation`] of it.
///
/// A batch that is refused leaves no trace. Of equal outputs the lowest class is the prediction.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluator {
    labels: Vec<String>,
    confusion: ConfusionMatrix,
    images: u64,
    top_k_hits: u64,
    /// Another `k`, and its hits.
    asked: Option<(usize, u64)>,
    calibration: CalibrationSums,
    loss_sum: f64,
    /// What the probability of the second of two classes has to exceed.
    threshold: Option<f32>,
}

/// What a model's outputs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreKind {
    /// Unnormalized scores, of which a softmax makes probabilities.
    Logits,
    /// Probabilities that add up to 1.
    Probabilities,
    /// Probabilities that were rounded, to 8 bits for example, so that they need not add up to 1.
    RoundedProbabilities,
    /// A probability for each class by itself, as of a sigmoid. The largest is the prediction and its
    /// confidence; the loss is that of their shares in the sum, as Keras's categorical cross-entropy.
    Independent,
}

impl Evaluator {
    /// Creates an evaluator for a model with one output per label; `labels` are the classes' names, in the order of the
    /// outputs.
    pub fn new(labels: Vec<String>) -> Result<Self, MetricsError> {
        let confusion = ConfusionMatrix::zeros(labels.len())?;
        let calibration = CalibrationSums::default();
        Ok(Self {
            labels,
            confusion,
            images: 0,
            top_k_hits: 0,
            asked: None,
            calibration,
            loss_sum: 0.0,
            threshold: None,
        })
    }

    /// Counts accuracy among the `k` largest outputs too; to be called before the first batch.
    #[must_use]
    pub fn with_top_k(self, k: usize) -> Self {
        Self {
            asked: Some((k, 0)),
            ..self
        }
    }

    /// Predicts the second of two classes where its probability exceeds a threshold, 0 to 1, rather than that of the
    /// first; to be called before the first batch.
    ///
    /// # Errors
    ///
    /// There are not two classes.
    pub fn with_threshold(self, threshold: f32) -> Result<Self, MetricsError> {
        match self.labels.len() {
            2 => Ok(Self {
                threshold: Some(threshold),
                ..self
            }),
            classes => Err(MetricsError::TwoClasses { classes }),
        }
    }

    /// Adds a batch: `logits` is row-major `[images, classes]`, all finite; `truth` has one class
    /// index per image.
    pub fn push(&mut self, logits: &[f32], truth: &[u32]) -> Result<(), MetricsError> {
        self.push_scores(logits, truth, ScoreKind::Logits)
    }

    /// Adds a batch of a model that ends with softmax: `probabilities` is row-major `[images,
    /// classes]`, each row adding up to 1; `truth` has one class index per image.
    ///
    /// The loss follows Keras: rows are divided by their sum and clipped to `1e-7..=1 - 1e-7`, so
    /// that one image's loss is at most 16.1. From logits the loss has no such limit and is exact.
    pub fn push_probabilities(
        &mut self,
        probabilities: &[f32],
        truth: &[u32],
    ) -> Result<(), MetricsError> {
        self.push_scores(probabilities, truth, ScoreKind::Probabilities)
    }

    /// Adds a batch of scores `[images, classes]` of this kind, row-major; `truth` has one class
    /// index per image.
    pub fn push_scores(
        &mut self,
        scores: &[f32],
        truth: &[u32],
        kind: ScoreKind,
    ) -> Result<(), MetricsError> {
        let outputs = scores;
        let classes = self.labels.len();
        if truth.len().checked_mul(classes) != Some(outputs.len()) {
            return Err(MetricsError::Shape {
                values: outputs.len(),
                images: truth.len(),
                classes,
            });
        }
        for ((image, row), &label) in (self.images..)
            .zip(outputs.chunks_exact(classes))
            .zip(truth)
        {
            if label as usize >= classes {
                return Err(MetricsError::Label {
                    image,
                    label,
                    classes,
                });
            }
            check_row(row, image, kind)?;
        }
        for (row, &label) in outputs.chunks_exact(classes).zip(truth) {
            self.record(row, label as usize, kind);
        }
        Ok(())
    }

    /// Adds what another evaluator of the same classes has seen, as if its batches had been given
    /// to this one.
    pub fn merge(&mut self, other: &Self) -> Result<(), MetricsError> {
        let k = |evaluator: &Self| evaluator.asked.map(|(k, _)| k);
        if self.labels != other.labels || k(self) != k(other) {
            return Err(MetricsError::DifferentClasses);
        }
        if let (Some((_, hits)), Some((_, more))) = (&mut self.asked, other.asked) {
            *hits += more;
        }
        self.calibration.add(&other.calibration);
        self.confusion.add(&other.confusion);
        self.images += other.images;
        self.top_k_hits += other.top_k_hits;
        self.loss_sum += other.loss_sum;
        Ok(())
    }

    /// Returns the result so far; an error if there were no images.
    pub fn finish(&self) -> Result<Evaluation, MetricsError> {
        if self.images == 0 {
            return Err(MetricsError::Empty { what: "images" });
        }
        let images = self.images as f64;
        let classes = class_metrics(&self.confusion, &self.labels);
        Ok(Evaluation {
            images: self.images,
            accuracy: self.confusion.correct() as f64 / images,
            top5_accuracy: (self.labels.len() > TOP_K).then(|| self.top_k_hits as f64 / images),
            top_k: self
                .asked
                .filter(|(k, _)| *k < self.labels.len())
                .map(|(k, hits)| TopK {
                    k,
                    accuracy: hits as f64 / images,
                }),
            loss: self.loss_sum / images,
            macro_average: Average::unweighted(&classes, &self.confusion),
            weighted_average: Average::by_support(&classes),
            classes,
            confusion: self.confusion.clone(),
            calibration: Some(self.calibration.finish()),
        })
    }

    /// Counts one image whose row and class have been checked.
    fn record(&mut self, row: &[f32], truth: usize, kind: ScoreKind) {
        // A checked row has at least one value and no NaN, so there is always a largest.
        let largest = argmax(row).unwrap_or_default();
        let probability = |class: usize| match kind {
            ScoreKind::Logits if class == largest => confidence(row, largest),
            ScoreKind::Logits => 1.0 - confidence(row, largest),
            ScoreKind::Probabilities | ScoreKind::RoundedProbabilities | ScoreKind::Independent => {
                f64::from(row[class])
            }
        };
        let predicted = match self.threshold {
            Some(threshold) => usize::from(probability(1) > f64::from(threshold)),
            None => largest,
        };
        self.images += 1;
        self.confusion.record(truth, predicted);
        let rank = rank(row, truth);
        self.top_k_hits += u64::from(rank < TOP_K);
        if let Some((k, hits)) = &mut self.asked {
            *hits += u64::from(rank < *k);
        }
        let (loss, confidence) = match kind {
            ScoreKind::Logits => (cross_entropy(row, truth, largest), probability(predicted)),
            ScoreKind::Probabilities | ScoreKind::RoundedProbabilities | ScoreKind::Independent => {
                let sum: f64 = row.iter().map(|&p| f64::from(p)).sum();
                let share = |class: usize| {
                    if sum > 0.0 {
                        f64::from(row[class]) / sum
                    } else {
                        1.0 / row.len() as f64
                    }
                };
                let confidence = if kind == ScoreKind::Independent {
                    f64::from(row[predicted])
                } else {
                    share(predicted)
                };
                (-share(truth).clamp(CLIP, 1.0 - CLIP).ln(), confidence)
            }
        };
        self.loss_sum += loss;
        self.calibration.record(confidence, predicted == truth);
    }
}

/// Refuses a row that cannot be ranked, or that claims to be probabilities and is not.
fn check_row(row: &[f32], image: u64, kind: ScoreKind) -> Result<(), MetricsError> {
    if let Some((class, &value)) = row.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        return Err(MetricsError::NotFinite {
            image,
            class,
            value,
        });
    }
    if matches!(kind, ScoreKind::Logits) {
        return Ok(());
    }
    let allowed = 0.0..=1.0 + PROBABILITY_SLACK as f32;
    if let Some((class, &value)) = row
        .iter()
        .enumerate()
        .find(|(_, value)| !allowed.contains(*value))
    {
        return Err(MetricsError::Probability {
            image,
            class,
            value,
        });
    }
    let sum: f64 = row.iter().map(|&p| f64::from(p)).sum();
    if kind == ScoreKind::Probabilities && (sum - 1.0).abs() > PROBABILITY_SLACK {
        return Err(MetricsError::ProbabilitySum { image, sum });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
