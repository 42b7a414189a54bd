//! Figures from a classifier's scores: accuracy, confusion, calibration, latency, agreement.
//!
//! Pure functions over slices: no files, no terminal, no drawing. Scores go in batch by batch; plain
//! data come out that serde can write.
//!
//! ```
//! use kiln_metrics::Evaluator;
//!
//! let mut evaluator = Evaluator::new(vec!["cat".into(), "dog".into()])?;
//! evaluator.push(&[2.0, -1.0, 0.5, 0.7], &[0, 0])?; // two images, row-major [images, classes]
//! assert_eq!(evaluator.finish()?.accuracy, 0.5);
//! # Ok::<(), kiln_metrics::MetricsError>(())
//! ```
//!
//! | to find | look in |
//! | --- | --- |
//! | accuracy, loss, precision, recall, F1 | `evaluation` |
//! | average precision, F1, thresholds of classes of which an image can have several | `several` |
//! | counts by true and predicted class | `confusion` |
//! | expected calibration error | `calibration` |
//! | the most confident errors | `most_confident` |
//! | softmax, argmax, cross-entropy of one row of logits | `logits` |
//! | whether two implementations compute the same | `agreement` |
//! | mean and spread of several runs | `spread` |
//! | confidence intervals of shares | `interval` |
//! | durations of calls | `latency` |
//! | two models on the same images | `paired` |

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    expect(
        clippy::float_cmp,
        reason = "tests compare with results that are exact"
    )
)]

mod agreement;
mod calibration;
mod confusion;
mod counts;
mod error;
mod evaluation;
mod interval;
mod latency;
mod logits;
mod most_confident;
mod paired;
mod several;
mod spread;

pub use agreement::{Agreement, Tolerance};
pub use calibration::{Calibration, CalibrationBin};
pub use confusion::{Confusion, ConfusionMatrix};
pub use counts::{ClassCounts, DecisionCounts};
pub use error::MetricsError;
pub use evaluation::{Average, ClassMetrics, Evaluation, Evaluator, ScoreKind, TopK};
pub use interval::wilson_interval;
pub use latency::Latency;
pub use logits::{argmax, sigmoid, softmax};
pub use most_confident::MostConfident;
pub use paired::Paired;
pub use several::{CurvePoint, SeveralClass, SeveralEvaluation, SeveralEvaluator};
pub use spread::Spread;
