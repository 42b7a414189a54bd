//! The comparison as it is written.

use std::path::Path;

use kiln_inference::ModelFile;
use kiln_metrics::{Latency, Paired};
use serde::Serialize;

use super::comparison::{Choice, Comparison};
use crate::bench::BenchTarget;
use crate::runtime::RuntimeRecord;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    max_drop: Option<f64>,
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
    load_ms: f64,
    /// On random images, one for each batch size.
    speed: Vec<Latency>,
}

impl<'a> ComparisonRecord<'a> {
    /// Collects what was measured on images that are called `data`. The check passes if at most
    /// `max_drop` of the accuracy, 0 to 1, is lost.
    pub fn new(
        data: &'a str,
        max_drop: Option<f64>,
        files: &'a [ModelFile; 2],
        targets: &'a [BenchTarget; 2],
        comparison: &'a Comparison,
    ) -> Self {
        let models = targets.iter().zip(files).zip(&comparison.evaluations);
        let models = models.map(|((target, file), evaluation)| ModelRecord {
            path: file.path().unwrap_or(Path::new("")),
            bytes: file.bytes().len() as u64,
            runtime: target.runtime(),
            accuracy: evaluation.accuracy,
            loss: evaluation.loss,
            load_ms: target.load_time().as_secs_f64() * 1e3,
            speed: target.latencies(),
        });
        let paired = comparison.paired;
        let accuracy_change = comparison.accuracy_change();
        Self {
            kiln: kiln_util::VERSION,
            data,
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
