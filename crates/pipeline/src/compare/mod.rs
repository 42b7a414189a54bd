//! Whether one model may replace another: what both achieved on the same images, and that as it is
//! written.

mod collected;
mod pass;

use std::path::Path;

use kiln_inference::ModelFile;
use kiln_metrics::{Evaluation, Latency, Paired};
use kiln_records::shown;
use serde::Serialize;

use crate::bench::BenchTarget;
pub use crate::error::models::CompareError;
use crate::runtime::RuntimeRecord;
pub use pass::compare;

/// What two models achieved on the same images.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Comparison {
    /// Metrics of each model.
    pub evaluations: [Evaluation; 2],
    /// Which of the models were right.
    pub paired: Paired,
    /// The images for which they predict different classes, those first that both are confident
    /// about.
    pub differences: Vec<Difference>,
}

/// An image for which the models predict different classes.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Its place among all images of the source, from 0.
    pub index: u64,
    /// The path of its file.
    pub path: Option<String>,
    /// Its class.
    pub label: u32,
    /// What each model predicts.
    pub choices: [Choice; 2],
}

/// What a model predicts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// The predicted class.
    pub class: usize,
    /// Its probability, 0 to 1.
    pub probability: f32,
    /// By how much the model prefers its own class to the other model's: the difference of their
    /// probabilities.
    pub margin: f32,
}

impl Difference {
    /// Returns how confident the less confident of the two models is.
    pub fn margin(&self) -> f32 {
        let [first, second] = self.choices;
        first.margin.min(second.margin)
    }
}

impl Comparison {
    /// Returns the second model's accuracy less the first's.
    pub fn accuracy_change(&self) -> f64 {
        self.paired.accuracy_change()
    }
}

/// Writes the p-value of a test for people: `p = 0.034`, or `p < 0.001`.
pub fn p_value_text(p_value: f64) -> String {
    if p_value < 0.001 {
        "p < 0.001".to_owned()
    } else {
        format!("p = {p_value:.3}")
    }
}

/// Checks that both models have the same classes in the same order.
pub fn check_classes(first: &[String], second: &[String]) -> Result<(), CompareError> {
    let mut pairs = first.iter().zip(second);
    if let Some(class) = pairs.position(|(first, second)| first != second) {
        return Err(CompareError::Class {
            class,
            first: first[class].clone(),
            second: second[class].clone(),
        });
    }
    if first.len() != second.len() {
        return Err(CompareError::Classes {
            first: first.len(),
            second: second.len(),
        });
    }
    Ok(())
}

/// A comparison as it is written.
#[derive(Debug, Serialize)]
pub struct ComparisonRecord<'a> {
    kiln: &'static str,
    data: &'a str,
    images: u64,
    /// A and B.
    pub models: Vec<ModelRecord<'a>>,
    #[serde(flatten)]
    paired: Paired,
    agreement: f64,
    /// B's less A's.
    pub accuracy_change: f64,
    /// McNemar's exact test, two-sided.
    pub p_value: f64,
    /// Accuracy that may be lost, 0 to 1, if that is bounded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_drop: Option<f64>,
    /// Whether no more accuracy was lost than may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed: Option<bool>,
    /// The images on which they differ, those first that both models are confident about.
    pub differences: Vec<DifferenceRecord<'a>>,
}

/// One of the models.
#[derive(Debug, Serialize)]
pub struct ModelRecord<'a> {
    path: &'a Path,
    /// Size of its file.
    pub bytes: u64,
    runtime: &'a RuntimeRecord,
    accuracy: f64,
    loss: f64,
    /// Expected calibration error, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    calibration_error: Option<f64>,
    load_ms: f64,
    /// On random images, one for each batch size.
    speed: Vec<Latency>,
}

impl<'a> ComparisonRecord<'a> {
    /// Collects what was measured on images that are called `data` (of a URL without its query), of models with their
    /// paths. The check passes if at most `max_drop` of the accuracy, 0 to 1, is lost.
    pub fn new(
        data: &'a str,
        max_drop: Option<f64>,
        files: [(&'a Path, &'a ModelFile); 2],
        targets: &'a [BenchTarget; 2],
        comparison: &'a Comparison,
    ) -> Self {
        let models = targets.iter().zip(files).zip(&comparison.evaluations);
        let models = models.map(|((target, file), evaluation)| ModelRecord {
            path: file.0,
            bytes: file.1.total_bytes(),
            runtime: target.runtime(),
            accuracy: evaluation.accuracy,
            loss: evaluation.loss,
            calibration_error: evaluation.calibration.as_ref().map(|it| it.ece),
            load_ms: target.load_time().as_secs_f64() * 1e3,
            speed: target.latencies(),
        });
        let paired = comparison.paired;
        let accuracy_change = comparison.accuracy_change();
        Self {
            kiln: kiln_util::VERSION,
            data: shown(data),
            images: paired.images(),
            models: models.collect(),
            paired,
            agreement: paired.agreement(),
            accuracy_change,
            p_value: paired.p_value(),
            max_drop,
            passed: max_drop.map(|most| -accuracy_change <= most),
            differences: records(comparison, targets[0].model().labels()),
        }
    }
}

/// An image for which the models predict different classes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DifferenceRecord<'a> {
    /// Place of the image among all images of the data, from 0.
    pub index: u64,
    /// Its path, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<&'a str>,
    /// Its class.
    pub label: &'a str,
    /// What A predicts.
    pub first: ChoiceRecord<'a>,
    /// What B predicts.
    pub second: ChoiceRecord<'a>,
}

/// What a model predicts, by name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChoiceRecord<'a> {
    /// The predicted class.
    pub predicted: &'a str,
    /// Its probability, 0 to 1.
    pub probability: f32,
    /// By how much the model prefers its own class to the other model's.
    pub margin: f32,
}

/// Lists all of them, those first that both models are confident about.
fn records<'a>(comparison: &'a Comparison, classes: &'a [String]) -> Vec<DifferenceRecord<'a>> {
    let record = |choice: Choice| ChoiceRecord {
        predicted: classes[choice.class].as_str(),
        probability: choice.probability,
        margin: choice.margin,
    };
    let differences = comparison.differences.iter().map(|difference| {
        let [first, second] = difference.choices.map(record);
        DifferenceRecord {
            index: difference.index,
            path: difference.path.as_deref(),
            label: &classes[difference.label as usize],
            first,
            second,
        }
    });
    differences.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_class_that_differs_is_named() {
        let names = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        let check = |first: &str, second: &str| {
            check_classes(&names(first), &names(second)).map_err(|error| error.to_string())
        };
        assert_eq!(check("a b", "a b"), Ok(()));
        let message = check("a b", "a c").unwrap_err();
        assert_eq!(
            message,
            "class 1 of the first model is `b`, that of the second `c`"
        );
        let message = check("a b", "a").unwrap_err();
        assert_eq!(message, "the first model has 2 classes, the second 1");
    }
}
