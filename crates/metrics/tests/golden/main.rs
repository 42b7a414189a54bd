//! The numbers equal scikit-learn's. `make.py` wrote `scikit_learn.json`.

use kiln_metrics::{Average, Evaluator};
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
