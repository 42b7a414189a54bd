//! How fast models are: the warm-up apart, then runs in turns.

pub(crate) mod error;
mod input;
mod plan;
mod target;
mod turns;

pub use error::BenchError;
pub use input::SEED;
pub use plan::{BenchLength, BenchPlan};
pub use target::{BenchTarget, Measurement};
pub use turns::measure;
