//! What training curves are drawn from.

/// Metrics of one epoch. A value that is NaN or infinite counts as missing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochMetrics {
    /// Number of the epoch, the first being 1.
    pub epoch: u32,
    /// Mean loss over the training set.
    pub train_loss: f64,
    /// Accuracy on the training set, 0 to 1.
    pub train_accuracy: f64,
    /// Mean loss over the validation set, if there is one.
    pub val_loss: Option<f64>,
    /// Accuracy on the validation set, 0 to 1, if there is one.
    pub val_accuracy: Option<f64>,
}
