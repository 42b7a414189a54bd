//! What a classifier got right and wrong: batches in, one [`Evaluation`] out.

mod calibration;
mod classes;
mod confusion;
mod evaluation;
mod evaluator;
mod most_confident;

pub use calibration::{Calibration, CalibrationBin};
pub use classes::{Average, ClassMetrics};
pub use confusion::{Confusion, ConfusionMatrix, MAX_CLASSES};
pub use evaluation::{Evaluation, TopK};
pub use evaluator::{Evaluator, TOP_K};
pub use most_confident::MostConfident;
