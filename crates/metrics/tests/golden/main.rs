//! The numbers equal scikit-learn's. `make.py` wrote the cases.

use kiln_metrics::{Average, Evaluator, SeveralEvaluator};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    classes: usize,
    logits: Vec<f32>,
    truth: Vec<u32>,
    accuracy: f64,
    top5_accuracy: f64,
    loss: f64,
    precision: Vec<f64>,
    recall: Vec<f64>,
    f1: Vec<f64>,
    support: Vec<u64>,
    #[serde(rename = "macro")]
    unweighted: [f64; 3],
    weighted: [f64; 3],
    confusion: Vec<Vec<u64>>,
}

#[track_caller]
fn near(found: f64, expected: f64) {
    assert!(
        (found - expected).abs() < 1e-14,
        "found {found}, expected {expected}"
    );
}

#[test]
fn equals_scikit_learn() {
    let case: Case = serde_json::from_str(include_str!("scikit_learn.json")).unwrap();
    let mut evaluator =
        Evaluator::new((0..case.classes).map(|class| class.to_string()).collect()).unwrap();
    evaluator.push(&case.logits, &case.truth).unwrap();
    let found = evaluator.finish().unwrap();

    assert_eq!(Vec::from(found.confusion), case.confusion);
    near(found.accuracy, case.accuracy);
    near(found.top5_accuracy.unwrap(), case.top5_accuracy);
    near(found.loss, case.loss);
    for (class, scores) in found.classes.iter().enumerate() {
        near(scores.precision, case.precision[class]);
        near(scores.recall, case.recall[class]);
        near(scores.f1, case.f1[class]);
        assert_eq!(scores.support, case.support[class]);
    }
    for (
        Average {
            precision,
            recall,
            f1,
        },
        expected,
    ) in [
        (found.macro_average, case.unweighted),
        (found.weighted_average, case.weighted),
    ] {
        near(precision, expected[0]);
        near(recall, expected[1]);
        near(f1, expected[2]);
    }
}

#[derive(Deserialize)]
struct Several {
    classes: usize,
    probabilities: Vec<f32>,
    truth: Vec<Vec<u32>>,
    thresholds: Vec<f32>,
    average_precision: Vec<Option<f64>>,
    mean_average_precision: f64,
    by_class: [Vec<f64>; 3],
    #[serde(rename = "macro")]
    unweighted: [f64; 3],
    micro: [f64; 3],
    exact_matches: f64,
    hamming_loss: f64,
    loss: f64,
}

#[test]
fn several_labels_equal_scikit_learn() {
    let case: Several = serde_json::from_str(include_str!("several.json")).unwrap();
    let names = (0..case.classes).map(|class| class.to_string()).collect();
    let mut evaluator = SeveralEvaluator::new(names, case.thresholds).unwrap();
    for (row, truth) in case.probabilities.chunks(case.classes).zip(&case.truth) {
        evaluator.push(row, truth).unwrap();
    }
    let found = evaluator.finish().unwrap();
    for (class, scores) in found.classes.iter().enumerate() {
        match (scores.average_precision, case.average_precision[class]) {
            (Some(found), Some(expected)) => near(found, expected),
            (found, expected) => assert_eq!(found, expected),
        }
        near(scores.precision, case.by_class[0][class]);
        near(scores.recall, case.by_class[1][class]);
        near(scores.f1, case.by_class[2][class]);
    }
    near(
        found.mean_average_precision.unwrap(),
        case.mean_average_precision,
    );
    for (found, expected) in [
        (found.macro_average, case.unweighted),
        (found.micro_average, case.micro),
    ] {
        near(found.precision, expected[0]);
        near(found.recall, expected[1]);
        near(found.f1, expected[2]);
    }
    near(found.exact_matches, case.exact_matches);
    near(found.hamming_loss, case.hamming_loss);
    near(found.loss, case.loss);
}
