use proptest::prelude::*;

use super::*;
use crate::softmax;

fn labels(classes: usize) -> Vec<String> {
    (0..classes).map(|class| class.to_string()).collect()
}

fn evaluate(classes: usize, logits: &[f32], truth: &[u32]) -> Evaluation {
    let mut evaluator = Evaluator::new(labels(classes)).unwrap();
    evaluator.push(logits, truth).unwrap();
    evaluator.finish().unwrap()
}

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
    // Class 2 is predicted, if only wrongly: it counts.
    assert_eq!(Average::unweighted(&classes, &confusion).recall, 0.25);
    assert_eq!(Average::by_support(&classes).recall, 0.5);
}

#[test]
fn a_class_that_does_not_occur_leaves_a_faultless_average_alone() {
    let evaluation = evaluate(3, &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0], &[0, 1]);
    let Average {
        precision,
        recall,
        f1,
    } = evaluation.macro_average;
    assert_eq!([precision, recall, f1], [1.0; 3]);
    assert_eq!(evaluation.classes[2].support, 0);
}

#[test]
fn as_many_guesses_as_classes_say_nothing() {
    let mut evaluator = Evaluator::new(labels(3)).unwrap().with_top_k(3);
    evaluator.push(&[3.0, 2.0, 1.0], &[2]).unwrap();
    assert_eq!(evaluator.finish().unwrap().top_k, None);
}

#[test]
fn two_images_by_hand() {
    let evaluation = evaluate(2, &[2.0, -1.0, 0.5, 0.7], &[0, 0]);
    assert_eq!(
        (
            evaluation.images,
            evaluation.accuracy,
            evaluation.top5_accuracy
        ),
        (2, 0.5, None)
    );
    // ln(1 + e^-3) and ln(1 + e^0.2), halved.
    assert!(
        (evaluation.loss - 0.423_363).abs() < 1e-6,
        "{}",
        evaluation.loss
    );
    assert_eq!(evaluation.labels(), ["0", "1"]);
}

#[test]
fn ties_go_to_the_lowest_class() {
    let evaluation = evaluate(7, &[0.0; 14], &[0, 5]);
    assert_eq!(evaluation.accuracy, 0.5);
    assert_eq!(evaluation.top5_accuracy, Some(0.5));
    assert_eq!(evaluation.confusion.get(5, 0), Some(1));
}

#[test]
fn extreme_logits_give_a_finite_loss() {
    let evaluation = evaluate(2, &[f32::MAX, f32::MIN], &[1]);
    assert_eq!(evaluation.loss, 2.0 * f64::from(f32::MAX));
}

#[test]
fn refused_batches_leave_no_trace() {
    let mut evaluator = Evaluator::new(labels(2)).unwrap();
    evaluator.push(&[1.0, 0.0], &[0]).unwrap();
    let before = evaluator.clone();
    let nan = evaluator
        .push(&[1.0, 0.0, 1.0, f32::NAN], &[0, 0])
        .unwrap_err();
    assert_eq!(
        nan.to_string(),
        "image 2, class 1: the model's output is NaN, expected a finite number: check the weights"
    );
    let label = evaluator.push(&[1.0, 0.0], &[2]);
    assert_eq!(
        label,
        Err(MetricsError::Label {
            image: 1,
            label: 2,
            classes: 2
        })
    );
    let shape = evaluator.push(&[1.0, 0.0, 1.0], &[0]);
    assert_eq!(
        shape,
        Err(MetricsError::Shape {
            values: 3,
            images: 1,
            classes: 2
        })
    );
    assert_eq!(evaluator, before);
}

#[test]
fn logits_are_not_taken_for_probabilities() {
    let mut evaluator = Evaluator::new(labels(2)).unwrap();
    for (row, class) in [([3.0, -2.0], 0), ([0.5, -0.5], 1)] {
        let error = evaluator.push_probabilities(&row, &[0]).unwrap_err();
        assert_eq!(
            error,
            MetricsError::Probability {
                image: 0,
                class,
                value: row[class]
            }
        );
    }
    let sum = evaluator.push_probabilities(&[0.5, 0.25], &[0]);
    assert_eq!(
        sum,
        Err(MetricsError::ProbabilitySum {
            image: 0,
            sum: 0.75
        })
    );
}

#[test]
fn certain_and_wrong_is_clipped_as_in_keras() {
    let mut evaluator = Evaluator::new(labels(2)).unwrap();
    evaluator.push_probabilities(&[1.0, 0.0], &[1]).unwrap();
    assert_eq!(evaluator.finish().unwrap().loss, -(1e-7f64).ln());
}

#[test]
fn needs_classes_and_images() {
    assert_eq!(
        Evaluator::new(Vec::new()),
        Err(MetricsError::Classes { found: 0 })
    );
    assert_eq!(
        Evaluator::new(labels(3)).unwrap().finish(),
        Err(MetricsError::Empty { what: "images" })
    );
    let mut evaluator = Evaluator::new(labels(3)).unwrap();
    assert_eq!(
        evaluator.merge(&Evaluator::new(labels(2)).unwrap()),
        Err(MetricsError::DifferentClasses)
    );
}

#[test]
fn is_written_and_read_back() {
    let evaluation = evaluate(
        6,
        &[0.5, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
        &[0, 0],
    );
    let read: Evaluation =
        serde_json::from_str(&serde_json::to_string(&evaluation).unwrap()).unwrap();
    // JSON readers may be off by the last bit of a decimal fraction; everything else is exact.
    assert!((read.loss - evaluation.loss).abs() <= f64::EPSILON * evaluation.loss);
    assert_eq!(
        Evaluation {
            loss: evaluation.loss,
            ..read
        },
        evaluation
    );
}

/// `(classes, logits, truth)`; logits on a coarse grid, so that ties occur.
fn batches() -> impl Strategy<Value = (usize, Vec<f32>, Vec<u32>)> {
    (1usize..9, 1usize..40).prop_flat_map(|(classes, images)| {
        (
            Just(classes),
            prop::collection::vec(
                (-40i8..40).prop_map(|x| f32::from(x) / 4.0),
                classes * images,
            ),
            prop::collection::vec(0..classes as u32, images),
        )
    })
}

#[test]
fn any_number_of_guesses_can_be_asked_for() {
    let mut evaluator = Evaluator::new(labels(3)).unwrap().with_top_k(2);
    evaluator
        .push(
            &[3.0, 2.0, 1.0, 3.0, 2.0, 1.0, 3.0, 2.0, 1.0, 3.0, 2.0, 1.0],
            &[0, 1, 2, 1],
        )
        .unwrap();
    let evaluation = evaluator.finish().unwrap();
    assert_eq!(
        (evaluation.accuracy, evaluation.top_k.unwrap()),
        (
            0.25,
            crate::TopK {
                k: 2,
                accuracy: 0.75
            }
        )
    );
    assert!(
        evaluator
            .merge(&Evaluator::new(labels(3)).unwrap())
            .is_err()
    );
}

proptest! {
    #[test]
    fn equals_counting_image_by_image((classes, logits, truth) in batches()) {
        let evaluation = evaluate(classes, &logits, &truth);
        let predictions: Vec<u32> = logits
            .chunks(classes)
            .map(|row| {
                let largest = row.iter().copied().fold(f32::MIN, f32::max);
                row.iter().position(|&x| x == largest).unwrap() as u32
            })
            .collect();
        let pairs = || truth.iter().zip(&predictions);
        let count = |of: &dyn Fn(u32, u32) -> bool| pairs().filter(|&(&t, &p)| of(t, p)).count() as f64;
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };

        prop_assert_eq!(evaluation.accuracy, count(&|t, p| t == p) / truth.len() as f64);
        let trace: u64 = (0..classes).map(|c| evaluation.confusion.get(c, c).unwrap()).sum();
        prop_assert_eq!(evaluation.accuracy, trace as f64 / evaluation.confusion.total() as f64);
        for (class, found) in (0..).zip(&evaluation.classes) {
            let hits = count(&|t, p| t == class && p == class);
            let precision = share(hits, count(&|_, p| p == class));
            let recall = share(hits, count(&|t, _| t == class));
            prop_assert_eq!((found.precision, found.recall), (precision, recall));
            let harmonic = share(2.0 * precision * recall, precision + recall);
            prop_assert!((found.f1 - harmonic).abs() < 1e-12);
        }
        // Weighted recall is accuracy, by definition.
        prop_assert!((evaluation.weighted_average.recall - evaluation.accuracy).abs() < 1e-12);
    }

    #[test]
    fn loss_equals_the_naive_sum((classes, logits, truth) in batches()) {
        let naive: f64 = logits.chunks(classes).zip(&truth).map(|(row, &t)| {
            row.iter().map(|&x| f64::from(x).exp()).sum::<f64>().ln() - f64::from(row[t as usize])
        }).sum();
        let loss = evaluate(classes, &logits, &truth).loss;
        prop_assert!((loss - naive / truth.len() as f64).abs() < 1e-12, "{} {}", loss, naive);
    }

    #[test]
    fn merged_batches_equal_one_pass((classes, logits, truth) in batches(), cut: prop::sample::Index) {
        let whole = evaluate(classes, &logits, &truth);
        let at = cut.index(truth.len() + 1);
        let [mut first, mut second] = [(); 2].map(|()| Evaluator::new(labels(classes)).unwrap());
        first.push(&logits[..at * classes], &truth[..at]).unwrap();
        second.push(&logits[at * classes..], &truth[at..]).unwrap();
        first.merge(&second).unwrap();
        let merged = first.finish().unwrap();
        prop_assert!((merged.loss - whole.loss).abs() < 1e-12);
        let gap = merged.calibration.as_ref().unwrap().ece - whole.calibration.as_ref().unwrap().ece;
        prop_assert!(gap.abs() < 1e-12);
        prop_assert_eq!(Evaluation { loss: whole.loss, calibration: whole.calibration.clone(), ..merged }, whole);
    }

    #[test]
    fn probabilities_give_what_logits_give((classes, logits, truth) in batches()) {
        let mut evaluator = Evaluator::new(labels(classes)).unwrap();
        let probabilities: Vec<f32> = logits.chunks(classes).flat_map(softmax).collect();
        evaluator.push_probabilities(&probabilities, &truth).unwrap();
        let (found, expected) = (evaluator.finish().unwrap(), evaluate(classes, &logits, &truth));
        prop_assert_eq!(found.confusion, expected.confusion);
        let clipped = |(row, &t): (&[f32], &u32)| {
            evaluate(classes, row, &[t]).loss.clamp(-(1.0 - CLIP).ln(), -CLIP.ln())
        };
        let loss = logits.chunks(classes).zip(&truth).map(clipped).sum::<f64>() / truth.len() as f64;
        // Probabilities in f32 are good to about 1e-7 of themselves.
        prop_assert!((found.loss - loss).abs() < 1e-6, "{} {}", found.loss, loss);
    }
}

#[test]
fn rounded_probabilities_are_divided_by_their_sum() {
    let labels = || vec!["a".to_owned(), "b".to_owned()];
    let mut rounded = Evaluator::new(labels()).unwrap();
    // As a softmax in 8 bits may give them.
    let row = [0.75, 0.125];
    assert!(rounded.clone().push_probabilities(&row, &[0]).is_err());
    rounded
        .push_scores(&row, &[0], ScoreKind::RoundedProbabilities)
        .unwrap();
    let found = rounded.finish().unwrap();
    assert!(
        (found.loss + (0.75_f64 / 0.875).ln()).abs() < 1e-12,
        "{}",
        found.loss
    );
    // All of many classes may have been rounded to 0.
    let mut none = Evaluator::new(labels()).unwrap();
    none.push_scores(&[0.0, 0.0], &[1], ScoreKind::RoundedProbabilities)
        .unwrap();
    assert!((none.finish().unwrap().loss - 2.0_f64.ln()).abs() < 1e-12);
}

#[test]
fn the_confidence_of_independent_scores_is_the_largest() {
    let mut evaluator = Evaluator::new(vec!["a".to_owned(), "b".to_owned()]).unwrap();
    evaluator
        .push_scores(&[0.9, 0.6], &[0], ScoreKind::Independent)
        .unwrap();
    let found = evaluator.finish().unwrap();
    assert_eq!(found.accuracy, 1.0);
    // Keras: -ln(0.9 / 1.5).
    assert!((found.loss + 0.6_f64.ln()).abs() < 1e-6, "{}", found.loss);
    let error = found.calibration.unwrap().ece;
    assert!((error - 0.1).abs() < 1e-6, "{error}");
}
