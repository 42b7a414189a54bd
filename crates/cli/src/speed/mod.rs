//! How fast models are: warm-up apart, then runs in turns.

mod contestant;
mod input;
mod turns;

pub use contestant::{Contestant, Measurement, ms};
pub use input::SEED;
pub use turns::{Length, Plan, measure};
