//! What a classifier got right and wrong: batches in, one [`Evaluation`] out.

mod classes;
mod confusion;
mod evaluation;
mod evaluator;

pub use classes::{Average, ClassMetrics};
pub use confusion::{Confusion, ConfusionMatrix, MAX_CLASSES};
pub use evaluation::Evaluation;
pub use evaluator::{Evaluator, TOP_K};
