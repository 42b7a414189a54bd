//! How fast models are: the warm-up apart, then runs in turns.

mod input;
mod plan;
mod record;
mod target;
mod turns;

pub use crate::error::models::BenchError;
pub use plan::{BenchLength, BenchPlan};
pub use record::{BenchRecord, InputRecord, ModelRecord};
pub use target::{BenchTarget, Measurement};
pub use turns::measure;
