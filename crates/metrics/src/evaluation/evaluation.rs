//! The result of evaluating a data set.

use serde::{Deserialize, Serialize};

use super::{Average, Calibration, ClassMetrics, ConfusionMatrix};

/// What a classifier reached on a data set; made by [`Evaluator`](crate::Evaluator).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Number of images, at least 1.
    pub images: u64,
    /// Share of images whose class was predicted, 0 to 1.
    pub accuracy: f64,
    /// Share of images whose class is among the [`TOP_K`](crate::TOP_K) largest outputs, 0 to 1;
    /// `None` where there are no more classes than that, since then it says nothing.
    pub top5_accuracy: Option<f64>,
    /// The same for another number of outputs, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<TopK>,
    /// Mean cross-entropy in nats, as Keras's and PyTorch's loss.
    pub loss: f64,
    /// Scores of each class, in the order of the model's outputs.
    pub classes: Vec<ClassMetrics>,
    /// Scores averaged over the classes.
    pub macro_average: Average,
    /// Scores averaged over the classes, weighted by their number of images.
    pub weighted_average: Average,
    /// Counts by true and predicted class.
    pub confusion: ConfusionMatrix,
    /// How far confidence lies from accuracy; absent in files of early versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
}

/// Accuracy where several guesses are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TopK {
    /// How many guesses.
    pub k: usize,
    /// Share of images whose class is among the `k` largest outputs, 0 to 1.
    pub accuracy: f64,
}

impl Evaluation {
    /// The classes' names, in the order of the model's outputs.
    pub fn labels(&self) -> Vec<&str> {
        self.classes
            .iter()
            .map(|class| class.label.as_str())
            .collect()
    }
}
