//! Building, training and running models in Burn. The only crate that knows Burn, together with
//! `kiln_backbone`.
//!
//! [`fit`] trains a checked [`kiln_model::Model`] and returns [`kiln_run::Weights`] by layer name;
//! [`Predictor`] runs such weights, whole or layer by layer, which is what exported files are
//! compared with. It neither prints nor writes files of its own: an [`Observer`] hears of every step
//! and epoch and keeps what is worth keeping, and a [`kiln_util::CancelToken`] stops the training.
//!
//! ```no_run
//! use kiln_run::Epoch;
//! use kiln_trainer::{Observer, Snapshot, Task, TrainError, fit};
//! use kiln_util::CancelToken;
//!
//! /// Stops as soon as the model is good enough.
//! struct GoodEnough(CancelToken);
//!
//! impl Observer for GoodEnough {
//!     fn epoch(&mut self, epoch: &Epoch, _: &Snapshot, best: bool) -> Result<(), TrainError> {
//!         println!("epoch {}: {:.4}{}", epoch.epoch, epoch.val_loss, if best { "  best" } else { "" });
//!         if epoch.val_accuracy > 0.99 {
//!             self.0.cancel();
//!         }
//!         Ok(())
//!     }
//! }
//!
//! # fn train(task: Task<'_>) -> Result<(), TrainError> {
//! let cancel = CancelToken::new();
//! let task = Task { cancel: &cancel, ..task };
//! let fitted = fit(&task, &mut GoodEnough(cancel.clone()))?;
//! println!("{} epochs, {} tensors", fitted.history.epochs.len(), fitted.best.len());
//! # Ok(())
//! # }
//! ```
//!
//! | to find | look in |
//! | --- | --- |
//! | the training loop, schedules, early stopping, the loss | `fit` |
//! | the learning-rate range test, and the rate that it suggests | `fit/range_test`, `fit/suggestion` |
//! | layers as Burn modules, and which run together | `network` |
//! | kiln's kernels as an operation of Burn | `fused` |
//! | where feature maps speak for a class | `grad_cam` |
//! | devices | `device` |
//! | outputs of the frozen prefix, computed once | `features` |
//! | scale of convolutions that are unfolded, measured | `unfold` |
//! | proof that frozen layers stayed as they were | `frozen` |

#![forbid(unsafe_code)]

mod device;
mod error;
mod features;
mod fit;
mod frozen;
mod fused;
mod grad_cam;
mod init;
mod network;
mod predictor;
mod unfold;

pub use device::{Device, DeviceKind, kernel_instructions};
pub use error::{Hint, TrainError};
pub use features::{FeatureTask, compute_features, feature_key};
pub use fit::{
    BatchReport, Fitted, Observer, RangeEnd, RangeStep, RangeTest, RangeTested, Resume, Snapshot,
    Suggestion, Task, fit, is_finished, phases_of, range_test,
};
pub use frozen::frozen_checksums;
pub use grad_cam::{ExplainedPass, GradCam};
pub use init::{backbone_weights, initial_weights};
pub use kiln_backbone::bases;
pub use network::Plan;
pub use predictor::{LayerOutput, Predictor};
pub use unfold::{UnfoldTask, unfold, unfolded_convs};
