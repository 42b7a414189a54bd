//! Building, training and running the models in Burn. The only crate that knows Burn.
//!
//! [`fit`] trains a checked [`kiln_spec::Model`] and hands back [`kiln_run::Weights`] by layer name; [`Predictor`] runs
//! such weights, whole or layer by layer, which is what exported files are compared with.

#![forbid(unsafe_code)]

mod device;
mod error;
mod fit;
mod init;
mod network;
mod predictor;

pub use device::Device;
pub use error::TrainError;
pub use fit::{BatchReport, Control, Fitted, Observer, Task, fit};
pub use init::initial_weights;
pub use predictor::{LayerOutput, Predictor};
