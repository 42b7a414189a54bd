//! The run directory: the hand-over between training, export and evaluation; and the folder of a
//! sweep's runs.
//!
//! This is the only place that knows the names of the files in it. Everything is written to a
//! temporary name and renamed, so that a reader never sees half a file and a full disk loses
//! nothing.

#![forbid(unsafe_code)]

mod checkpoint;
mod directory;
mod environment;
mod error;
mod history;
mod json;
mod sweep;
mod weights;

pub use checkpoint::{Checkpoint, Progress};
pub use directory::{RunDir, RunFile};
pub use environment::Environment;
pub use error::RunError;
pub use history::{Epoch, History};
pub use sweep::{SweepDir, SweepFile};
pub use weights::{Tensor, Weights, WeightsError};
