//! How fast models are: warm-up apart, then runs in turns.

mod contestant;
mod input;
mod table;
mod turns;

pub use contestant::{Contestant, Measurement, ms};
pub use input::SEED;
pub use table::latency_table;
pub use turns::{Length, Plan, measure};
