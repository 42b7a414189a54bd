//! Whether epochs still get better.

use kiln_run::Epoch;
use kiln_spec::{EarlyStopping, Monitor};

/// Whether an epoch's figure is better than another's by more than `delta`.
pub fn better_by(monitor: Monitor, epoch: &Epoch, than: &Epoch, delta: f64) -> bool {
    match monitor {
        Monitor::ValLoss => epoch.val_loss < than.val_loss - delta,
        Monitor::ValAccuracy => epoch.val_accuracy > than.val_accuracy + delta,
    }
}

/// Whether a phase that had these epochs is to end, as Keras's `EarlyStopping` would.
pub fn is_over(stopping: EarlyStopping, monitor: Monitor, epochs: &[Epoch]) -> bool {
    let mut best: Option<&Epoch> = None;
    let mut waited = 0;
    for epoch in epochs {
        if best.is_none_or(|best| better_by(monitor, epoch, best, stopping.min_delta)) {
            best = Some(epoch);
            waited = 0;
        } else {
            waited += 1;
        }
    }
    waited >= stopping.patience
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(accuracies: &[f64]) -> Vec<Epoch> {
        let epoch = |(at, &val_accuracy): (usize, &f64)| Epoch {
            epoch: at + 1,
            train_loss: 1.0,
            train_accuracy: 0.5,
            val_loss: 1.0 - val_accuracy,
            val_accuracy,
            learning_rate: 1.0,
            seconds: 1.0,
        };
        accuracies.iter().enumerate().map(epoch).collect()
    }

    #[test]
    fn a_phase_ends_after_so_many_epochs_without_improvement() {
        for monitor in [Monitor::ValLoss, Monitor::ValAccuracy] {
            let over = |accuracies: &[f64], patience, min_delta| {
                is_over(EarlyStopping { patience, min_delta }, monitor, &epochs(accuracies))
            };
            assert!(!over(&[0.5], 1, 0.0));
            assert!(over(&[0.5, 0.5], 1, 0.0));
            assert!(!over(&[0.5, 0.4, 0.6], 2, 0.0));
            assert!(over(&[0.5, 0.4, 0.3], 2, 0.0));
            assert!(over(&[0.5, 0.505, 0.508], 2, 0.01));
            assert!(!over(&[0.5, 0.505, 0.52], 2, 0.01));
        }
    }
}
