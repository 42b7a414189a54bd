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

/// The epoch with the lowest validation loss, the first of equals; without validation that with the lowest training
/// loss. Keras's `ModelCheckpoint(save_best_only=True)` keeps the same one. `None` if no loss is finite.
pub fn best_epoch(epochs: &[EpochMetrics]) -> Option<u32> {
    let lowest = |loss: fn(&EpochMetrics) -> Option<f64>| {
        let finite = epochs.iter().filter_map(|e| Some((e.epoch, loss(e).filter(|l| l.is_finite())?)));
        finite.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(epoch, _)| epoch)
    };
    lowest(|e| e.val_loss).or_else(|| lowest(|e| Some(e.train_loss)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(epoch: u32, train_loss: f64, val_loss: Option<f64>) -> EpochMetrics {
        EpochMetrics { epoch, train_loss, train_accuracy: 0.5, val_loss, val_accuracy: None }
    }

    #[test]
    fn best_is_the_first_lowest_validation_loss() {
        let epochs = [
            epoch(1, 0.9, Some(0.8)),
            epoch(2, 0.5, Some(0.6)),
            epoch(3, 0.4, Some(0.6)),
            epoch(4, 0.3, Some(f64::NAN)),
        ];
        assert_eq!(best_epoch(&epochs), Some(2));
    }

    #[test]
    fn without_validation_the_training_loss_decides() {
        assert_eq!(best_epoch(&[epoch(1, 0.9, None), epoch(2, 0.5, None)]), Some(2));
        assert_eq!(best_epoch(&[epoch(1, f64::NAN, None)]), None);
        assert_eq!(best_epoch(&[]), None);
    }
}
