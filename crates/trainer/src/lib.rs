//! Building, training and running the models in Burn. The only crate that knows Burn.
//!
//! [`fit`] trains a checked [`kiln_model::Model`] and hands back [`kiln_run::Weights`] by layer
//! name; [`Predictor`] runs such weights, whole or layer by layer, which is what exported files are
//! compared with.

#![forbid(unsafe_code)]

mod backbone;
mod device;
mod error;
mod features;
mod fit;
mod frozen;
mod fused;
mod init;
mod network;
mod predictor;

pub use backbone::backbone_weights;
pub use device::{Device, DeviceKind, kernel_instructions};
pub use error::{Hint, TrainError};
pub use features::{compute_features, feature_key};
pub use fit::{BatchReport, Control, Fitted, Observer, Resume, Snapshot, Task, fit, is_finished};
pub use frozen::frozen_checksums;
pub use init::initial_weights;
pub use kiln_backbone::bases;
pub use network::Plan;
pub use predictor::{LayerOutput, Predictor};
