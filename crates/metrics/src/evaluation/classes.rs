//! Precision, recall and F1: of each class, and averaged.

use serde::{Deserialize, Serialize};

use super::ConfusionMatrix;

/// How well one class was recognised.
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

/// Precision, recall and F1 averaged over all classes, those without images included.
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
pub(super) fn class_metrics(confusion: &ConfusionMatrix, labels: &[String]) -> Vec<ClassMetrics> {
    let (support, predicted) = (confusion.support(), confusion.predicted());
    let diagonal = confusion.rows().enumerate().map(|(class, row)| row[class]);
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
    /// Every class counts the same.
    pub(super) fn unweighted(classes: &[ClassMetrics]) -> Self {
        Self::weighted_by(classes, |_| 1.0)
    }

    /// Every image counts the same: classes weigh by their support.
    pub(super) fn by_support(classes: &[ClassMetrics]) -> Self {
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
fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_without_images_or_predictions_scores_zero() {
        // Class 1 is never predicted, class 2 never occurs.
        let confusion =
            ConfusionMatrix::try_from(vec![vec![3, 0, 1], vec![2, 0, 0], vec![0, 0, 0]]).unwrap();
        let classes = class_metrics(&confusion, &["a".into(), "b".into(), "c".into()]);
        let scores: Vec<_> = classes
            .iter()
            .map(|c| (c.precision, c.recall, c.f1, c.support))
            .collect();
        assert_eq!(
            scores,
            [
                (0.6, 0.75, 6.0 / 9.0, 4),
                (0.0, 0.0, 0.0, 2),
                (0.0, 0.0, 0.0, 0)
            ]
        );
        assert_eq!(Average::unweighted(&classes).recall, 0.25);
        assert_eq!(Average::by_support(&classes).recall, 0.5);
    }
}
