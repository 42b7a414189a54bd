//! The run directory: the hand-over between training, export and evaluation; and the folder of a
//! sweep's runs.
//!
//! | to find | look in |
//! | --- | --- |
//! | names of the files, creating, opening and locking a run | `directory` |
//! | which weights are the best, and what a kill leaves | `best` |
//! | what it takes to resume | `checkpoint` |
//! | parameters by name | `weights` |
//! | batch normalizations folded into weights, and taken out again | `norm` |
//! | figures by epoch | `history` |
//! | figures for other tools: JSON lines, TensorBoard | `log` |
//! | the folder of a sweep | `sweep` |
//! | the folder of a learning-rate range test | `range_test` |
//!
//! This is the only place that knows the names of the files in a run. Everything is written to a
//! temporary name and renamed, except for the event file, which TensorBoard reads while it grows, so that a reader never sees half a file and a full disk loses
//! nothing.

#![forbid(unsafe_code)]

mod best;
mod checkpoint;
mod directory;
mod error;
mod history;
mod log;
mod norm;
mod range_test;
mod sweep;
mod weights;

pub use best::{BestWeights, Resumption};
pub use checkpoint::{Checkpoint, Progress};
pub use directory::{Environment, FeatureTime, RunDir, RunFile, RunState};
pub use error::{Hint, RunError};
pub use history::{Epoch, History};
pub use log::{LoggedEpoch, TestFigures, TrainingLog};
pub use norm::{BatchNormValues, ChannelStatistics, add_unfolded_norm, fold_conv, unfold_conv};
pub use range_test::{RangeTestDir, RangeTestFile};
pub use sweep::{SweepDir, SweepFile};
pub use weights::{Tensor, Weights, WeightsError};
