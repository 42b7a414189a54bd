//! Scores of a classifier whose images can have any number of classes.

use serde::{Deserialize, Serialize};

use crate::MetricsError;
use crate::counts::Counts;
use crate::evaluation::{Average, ratio};

/// Scores on a dataset whose images can have several classes; made by [`SeveralEvaluator`].
///
/// An image is predicted to have a class if its probability exceeds the class's threshold. The names are those of
/// scikit-learn, whose functions give the same numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeveralEvaluation {
    /// Number of images, at least 1.
    pub images: u64,
    /// Mean average precision: of the classes that have images.
    pub mean_average_precision: Option<f64>,
    /// Mean F1, precision and recall of all classes, with 0 where a denominator is 0.
    pub macro_average: Average,
    /// Precision, recall and F1 of all decisions about all classes together.
    pub micro_average: Average,
    /// Share of images with exactly the predicted classes, 0 to 1; scikit-learn's `accuracy_score`.
    pub exact_matches: f64,
    /// Share of wrong decisions among all, 0 to 1; scikit-learn's `hamming_loss`.
    pub hamming_loss: f64,
    /// Mean binary cross-entropy of a decision in nats, from probabilities clipped to `1e-7..=1 - 1e-7`, as Keras's
    /// loss.
    pub loss: f64,
    /// Scores of each class, in the order of the model's outputs.
    pub classes: Vec<SeveralClass>,
}

/// Scores of one class among several that an image can have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeveralClass {
    /// The class's name.
    pub label: String,
    /// Number of images that have it.
    pub support: u64,
    /// Area under the curve of precision by recall as a sum over its steps, scikit-learn's
    /// `average_precision_score`; none if no image has the class.
    pub average_precision: Option<f64>,
    /// What the probability has to exceed, 0 to 1.
    pub threshold: f32,
    /// Of the images predicted to have the class, the share that have it, 0 to 1.
    pub precision: f64,
    /// Of the images that have the class, the share predicted to, 0 to 1.
    pub recall: f64,
    /// Harmonic mean of both, 0 to 1.
    pub f1: f64,
    /// The threshold with the largest F1 on these images, half-way between two probabilities: a threshold chosen on
    /// the images that it is judged by flatters. None if no image has the class.
    pub best_threshold: Option<f32>,
    /// That F1.
    pub best_f1: Option<f64>,
    /// Precision by recall from the highest threshold to the lowest, thinned to about a hundred points; empty if no image
    /// has the class.
    #[serde(default)]
    pub curve: Vec<CurvePoint>,
}

/// A point of the curve of a class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Of the images that have the class, the share with at least some probability, 0 to 1.
    pub recall: f64,
    /// Of the images with at least that probability, the share that have the class, 0 to 1.
    pub precision: f64,
}

/// Collects the probabilities of all images, four bytes for each class of an image and an eighth for its truth, and
/// makes a [`SeveralEvaluation`] of them.
#[derive(Debug, Clone, PartialEq)]
pub struct SeveralEvaluator {
    labels: Vec<String>,
    thresholds: Vec<f32>,
    /// `[images, classes]`.
    probabilities: Vec<f32>,
    /// Of the same shape.
    truth: Vec<bool>,
}

/// Probabilities are clipped to `CLIP..=1 - CLIP` before the logarithm.
const CLIP: f64 = 1e-7;

impl SeveralEvaluator {
    /// Creates an evaluator for classes of these names, with a threshold for each.
    pub fn new(labels: Vec<String>, thresholds: Vec<f32>) -> Result<Self, MetricsError> {
        if labels.is_empty() {
            return Err(MetricsError::Empty { what: "classes" });
        }
        if labels.len() != thresholds.len() {
            return Err(MetricsError::Shape {
                values: thresholds.len(),
                images: 1,
                classes: labels.len(),
            });
        }
        Ok(Self {
            labels,
            thresholds,
            probabilities: Vec::new(),
            truth: Vec::new(),
        })
    }

    /// Adds an image: the probability of each class, 0 to 1, and the classes that it has.
    pub fn push(&mut self, probabilities: &[f32], truth: &[u32]) -> Result<(), MetricsError> {
        let classes = self.labels.len();
        let image = (self.truth.len() / classes) as u64;
        if probabilities.len() != classes {
            return Err(MetricsError::Shape {
                values: probabilities.len(),
                images: 1,
                classes,
            });
        }
        if let Some(&label) = truth.iter().find(|&&label| label as usize >= classes) {
            return Err(MetricsError::Label {
                image,
                label,
                classes,
            });
        }
        let wrong = |value: &f32| !(0.0..=1.0).contains(value);
        if let Some(class) = probabilities.iter().position(wrong) {
            return Err(MetricsError::Probability {
                image,
                class,
                value: probabilities[class],
            });
        }
        self.probabilities.extend(probabilities);
        let first = self.truth.len();
        self.truth.resize(first + classes, false);
        for &label in truth {
            self.truth[first + label as usize] = true;
        }
        Ok(())
    }

    /// Returns the result so far; an error if there were no images.
    pub fn finish(&self) -> Result<SeveralEvaluation, MetricsError> {
        if self.truth.is_empty() {
            return Err(MetricsError::Empty { what: "images" });
        }
        let count = self.labels.len();
        let images = self.truth.len() / count;
        let mut all = Counts::default();
        let mut classes = Vec::with_capacity(count);
        for class in 0..count {
            let pairs: Vec<(f32, bool)> = (class..self.truth.len())
                .step_by(count)
                .map(|at| (self.probabilities[at], self.truth[at]))
                .collect();
            let counts = decisions(&pairs, self.thresholds[class]);
            all.add(counts);
            classes.push(self.class(class, pairs, counts));
        }
        let precisions: Vec<f64> = classes
            .iter()
            .filter_map(|class| class.average_precision)
            .collect();
        let mean =
            |score: fn(&SeveralClass) -> f64| classes.iter().map(score).sum::<f64>() / count as f64;
        let decisions = self.truth.len() as f64;
        Ok(SeveralEvaluation {
            images: images as u64,
            mean_average_precision: (!precisions.is_empty())
                .then(|| precisions.iter().sum::<f64>() / precisions.len() as f64),
            macro_average: Average {
                precision: mean(|class| class.precision),
                recall: mean(|class| class.recall),
                f1: mean(|class| class.f1),
            },
            micro_average: Average {
                precision: all.precision(),
                recall: all.recall(),
                f1: all.f1(),
            },
            exact_matches: self.exact_matches() as f64 / images as f64,
            hamming_loss: (all.missed + all.false_alarms) as f64 / decisions,
            loss: self.loss_sum() / decisions,
            classes,
        })
    }

    fn class(&self, class: usize, mut pairs: Vec<(f32, bool)>, counts: Counts) -> SeveralClass {
        let curve = Curve::new(&mut pairs);
        let best = curve.best();
        SeveralClass {
            label: self.labels[class].clone(),
            support: counts.hits + counts.missed,
            average_precision: curve.average_precision(),
            threshold: self.thresholds[class],
            precision: counts.precision(),
            recall: counts.recall(),
            f1: counts.f1(),
            best_threshold: best.map(|(threshold, _)| threshold),
            best_f1: best.map(|(_, f1)| f1),
            curve: curve.points(),
        }
    }

    fn exact_matches(&self) -> usize {
        let count = self.labels.len();
        let rows = self
            .probabilities
            .chunks_exact(count)
            .zip(self.truth.chunks_exact(count));
        let matches = |(row, truth): &(&[f32], &[bool])| {
            let mut decisions = row.iter().zip(&self.thresholds).zip(truth.iter());
            decisions.all(|((probability, threshold), truth)| (probability > threshold) == *truth)
        };
        rows.filter(matches).count()
    }

    fn loss_sum(&self) -> f64 {
        let pairs = self.probabilities.iter().zip(&self.truth);
        let loss = |(&probability, &truth): (&f32, &bool)| {
            let probability = f64::from(probability).clamp(CLIP, 1.0 - CLIP);
            -if truth {
                probability
            } else {
                1.0 - probability
            }
            .ln()
        };
        pairs.map(loss).sum()
    }
}

/// Decisions by a threshold about images of which it is known whether they have a class.
fn decisions(pairs: &[(f32, bool)], threshold: f32) -> Counts {
    let mut counts = Counts::default();
    for &(probability, truth) in pairs {
        match (probability > threshold, truth) {
            (true, true) => counts.hits += 1,
            (false, true) => counts.missed += 1,
            (true, false) => counts.false_alarms += 1,
            (false, false) => {}
        }
    }
    counts
}

/// Images by falling probability of a class: each step takes all that have one probability.
struct Curve {
    /// Probability, images that have the class and all images, from the most probable to here.
    steps: Vec<(f32, u64, u64)>,
}

impl Curve {
    fn new(pairs: &mut [(f32, bool)]) -> Self {
        pairs.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let mut steps: Vec<(f32, u64, u64)> = Vec::new();
        let (mut hits, mut taken) = (0, 0);
        for &(probability, truth) in pairs.iter() {
            hits += u64::from(truth);
            taken += 1;
            match steps.last_mut() {
                Some(last) if last.0 <= probability => *last = (probability, hits, taken),
                _ => steps.push((probability, hits, taken)),
            }
        }
        Self { steps }
    }

    /// Images that have the class.
    fn support(&self) -> u64 {
        self.steps.last().map_or(0, |(_, hits, _)| *hits)
    }

    /// `Σ (recall[i] - recall[i-1]) precision[i]`, as scikit-learn; none without images of the class.
    fn average_precision(&self) -> Option<f64> {
        let support = self.support();
        let mut before = 0;
        let mut sum = 0.0;
        for &(_, hits, taken) in &self.steps {
            sum += (hits - before) as f64 / support as f64 * (hits as f64 / taken as f64);
            before = hits;
        }
        (support > 0).then_some(sum)
    }

    /// The steps at which recall passes another hundredth, and the last one with a hit.
    fn points(&self) -> Vec<CurvePoint> {
        let support = self.support();
        let mut points = Vec::new();
        let mut before = 0;
        for &(_, hits, taken) in &self.steps {
            let passes = hits * 100 / support.max(1) > before * 100 / support.max(1);
            if passes || (hits == support && before < support) {
                points.push(CurvePoint {
                    recall: hits as f64 / support as f64,
                    precision: hits as f64 / taken as f64,
                });
            }
            before = hits;
        }
        points
    }

    /// The threshold with the largest F1, of equals the highest, and that F1.
    fn best(&self) -> Option<(f32, f64)> {
        let support = self.support();
        let mut best = None;
        for (at, &(probability, hits, taken)) in self.steps.iter().enumerate() {
            let f1 = ratio(2.0 * hits as f64, (support + taken) as f64);
            if best.is_none_or(|(_, largest)| f1 > largest) {
                let below = self.steps.get(at + 1).map_or(0.0, |(next, ..)| *next);
                best = Some((f32::midpoint(probability, below), f1));
            }
        }
        best.filter(|_| support > 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn evaluator(rows: &[([f32; 3], &[u32])]) -> SeveralEvaluator {
        let labels = ["cat", "dog", "emu"].map(str::to_owned).to_vec();
        let mut evaluator = SeveralEvaluator::new(labels, vec![0.5; 3]).unwrap();
        for (row, truth) in rows {
            evaluator.push(row, truth).unwrap();
        }
        evaluator
    }

    #[test]
    fn scores_are_scikit_learns() {
        let found = evaluator(&[
            ([0.9, 0.2, 0.4], &[0]),
            ([0.8, 0.7, 0.4], &[0, 1]),
            ([0.3, 0.6, 0.9], &[1, 2]),
            ([0.6, 0.6, 0.1], &[]),
            ([0.4, 0.1, 0.4], &[0, 2]),
        ])
        .finish()
        .unwrap();
        let precisions: Vec<f64> = found
            .classes
            .iter()
            .map(|class| class.average_precision.unwrap())
            .collect();
        let expected = [0.916_666_666_666_666_5, 0.833_333_333_333_333_3, 0.75];
        for (found, expected) in precisions.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{precisions:?}");
        }
        let close =
            |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found}");
        close(
            found.mean_average_precision.unwrap(),
            0.833_333_333_333_333_3,
        );
        close(found.macro_average.f1, 0.711_111_111_111_111_1);
        close(found.micro_average.f1, 0.714_285_714_285_714_3);
        close(found.micro_average.precision, 0.714_285_714_285_714_3);
        close(found.exact_matches, 0.6);
        close(found.hamming_loss, 4.0 / 15.0);
        close(found.loss, 0.451_914_600_043_182_8);
    }

    #[test]
    fn the_best_threshold_lies_between_two_probabilities() {
        let found = evaluator(&[
            ([0.9, 0.0, 0.0], &[0]),
            ([0.4, 0.0, 0.0], &[0]),
            ([0.2, 0.0, 0.0], &[]),
        ])
        .finish()
        .unwrap();
        let [cat, dog, _] = &found.classes[..] else {
            panic!()
        };
        assert!((cat.best_threshold.unwrap() - 0.3).abs() < 1e-6);
        assert_eq!(cat.best_f1, Some(1.0));
        assert_eq!((dog.average_precision, dog.best_threshold), (None, None));
    }

    #[test]
    fn the_curve_has_a_point_for_each_hundredth_of_recall() {
        let found = evaluator(&[
            ([0.9, 0.0, 0.0], &[0]),
            ([0.8, 0.0, 0.0], &[]),
            ([0.7, 0.0, 0.0], &[0]),
            ([0.1, 0.0, 0.0], &[]),
        ]);
        let found = found.finish().unwrap();
        let points: Vec<_> = found.classes[0]
            .curve
            .iter()
            .map(|point| (point.recall, point.precision))
            .collect();
        assert_eq!(points, [(0.5, 1.0), (1.0, 2.0 / 3.0)]);
        assert!(found.classes[1].curve.is_empty(), "no image has it");
        let mut pairs: Vec<_> = (0..5000)
            .map(|at| (at as f32 / 5000.0, at % 2 == 0))
            .collect();
        let curve = Curve::new(&mut pairs).points();
        assert_eq!((curve.len(), curve[99].recall), (100, 1.0));
    }

    #[test]
    fn what_is_no_probability_or_class_is_refused_without_a_trace() {
        let mut evaluator = evaluator(&[([0.5, 0.5, 0.5], &[])]);
        let before = evaluator.clone();
        assert!(evaluator.push(&[0.5, 0.5], &[]).is_err());
        assert!(evaluator.push(&[0.5, f32::NAN, 0.5], &[]).is_err());
        assert!(evaluator.push(&[0.5, 1.5, 0.5], &[]).is_err());
        assert!(evaluator.push(&[0.5, 0.5, 0.5], &[3]).is_err());
        assert_eq!(evaluator, before);
    }

    proptest! {
        /// By its definition: precision at each place of a ranked image that has the class, if no two are equal.
        #[test]
        fn average_precision_is_the_mean_precision_at_each_hit(
            truth in proptest::collection::vec(any::<bool>(), 1..50),
        ) {
            let count = truth.len();
            let mut pairs: Vec<_> = truth.iter().enumerate().map(|(at, &truth)| (1.0 - at as f32 / count as f32, truth)).collect();
            let hits = truth.iter().filter(|truth| **truth).count();
            let mut sum = 0.0;
            let mut seen = 0;
            for (at, _) in truth.iter().enumerate().filter(|(_, truth)| **truth) {
                seen += 1;
                sum += f64::from(seen) / (at + 1) as f64;
            }
            let found = Curve::new(&mut pairs).average_precision();
            match found {
                None => prop_assert_eq!(hits, 0),
                Some(found) => prop_assert!((found - sum / hits as f64).abs() < 1e-12),
            }
        }

        #[test]
        fn no_threshold_is_better_than_the_best(
            pairs in proptest::collection::vec((0.0_f32..1.0, any::<bool>()), 1..40),
            threshold in 0.0_f32..1.0,
        ) {
            let mut pairs = pairs;
            let f1 = decisions(&pairs, threshold).f1();
            if let Some((best, largest)) = Curve::new(&mut pairs).best() {
                prop_assert!(f1 <= largest + 1e-12);
                prop_assert!((decisions(&pairs, best).f1() - largest).abs() < 1e-12, "midpoints separate");
            }
        }
    }
}
