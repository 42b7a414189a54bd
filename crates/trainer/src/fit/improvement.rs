//! Whether epochs still get better, and a training is finished.

use kiln_model::{EarlyStopping, Monitor, Training};
use kiln_run::{Epoch, History, Progress};

/// Returns whether an epoch's figure is better than another's by more than `delta`.
pub fn better_by(monitor: Monitor, epoch: &Epoch, than: &Epoch, delta: f64) -> bool {
    beats(monitor, epoch, figure(monitor, than), delta)
}

fn figure(monitor: Monitor, epoch: &Epoch) -> f64 {
    match monitor {
        Monitor::ValLoss => epoch.val_loss,
        Monitor::ValAccuracy => epoch.val_accuracy,
        Monitor::ValMacroF1 => epoch.val_macro_f1.unwrap_or_default(),
    }
}

fn beats(monitor: Monitor, epoch: &Epoch, than: f64, delta: f64) -> bool {
    match monitor {
        Monitor::ValLoss => epoch.val_loss < than - delta,
        Monitor::ValAccuracy | Monitor::ValMacroF1 => figure(monitor, epoch) > than + delta,
    }
}

/// Returns whether a phase that had these epochs is to end, as Keras's `EarlyStopping` would.
pub fn is_over(stopping: EarlyStopping, monitor: Monitor, epochs: &[Epoch]) -> bool {
    let EarlyStopping {
        patience,
        min_delta,
        start_from_epoch,
        baseline,
    } = stopping;
    let (mut best, mut waited, mut over): (Option<&Epoch>, _, _) = (None, 0, false);
    for epoch in epochs.iter().skip(start_from_epoch) {
        waited += 1;
        let improved = best.is_none_or(|best| better_by(monitor, epoch, best, min_delta));
        if improved {
            best = Some(epoch);
            if baseline.is_none_or(|baseline| beats(monitor, epoch, baseline, min_delta)) {
                waited = 0;
            }
        }
        over = !improved && waited >= patience;
    }
    over
}

/// Returns whether a training that is this far has nothing left to do.
pub fn is_finished(training: &Training, progress: &Progress) -> bool {
    let Some((phase, earlier)) = training.phases.split_last() else {
        return true;
    };
    let epochs = &progress.history.epochs;
    let of_phase = &epochs[epochs.len().saturating_sub(progress.epochs)..];
    let over = |stopping| is_over(stopping, progress.history.monitor, of_phase);
    progress.phase >= earlier.len()
        && (progress.epochs >= phase.epochs || phase.early_stopping.is_some_and(over))
}

/// Returns the phase of each of these epochs, from 0. A history does not have them, but it decides when a
/// phase ends.
pub fn phases_of(training: &Training, history: &History) -> Vec<usize> {
    let mut left = history.epochs.as_slice();
    let mut phases = Vec::with_capacity(left.len());
    for (number, phase) in training.phases.iter().enumerate() {
        let over = |epochs: usize| {
            let over = |stopping| is_over(stopping, history.monitor, &left[..epochs]);
            epochs == phase.epochs || phase.early_stopping.is_some_and(over)
        };
        let is_last = number + 1 == training.phases.len();
        let ends = (1..left.len()).find(|&epochs| !is_last && over(epochs));
        let (own, rest) = left.split_at(ends.unwrap_or(left.len()));
        phases.extend(own.iter().map(|_| number));
        left = rest;
    }
    phases
}

#[cfg(test)]
mod tests {
    use kiln_model::Recipe;

    use super::*;

    fn epochs(accuracies: &[f64]) -> Vec<Epoch> {
        let epoch = |(at, &val_accuracy): (usize, &f64)| Epoch {
            epoch: at + 1,
            train_loss: 1.0,
            train_accuracy: 0.5,
            val_loss: 1.0 - val_accuracy,
            val_accuracy,
            val_macro_f1: None,
            learning_rate: 1.0,
            seconds: 1.0,
            penalty: None,
            images_per_second: None,
        };
        accuracies.iter().enumerate().map(epoch).collect()
    }

    const STOPPING: EarlyStopping = EarlyStopping {
        patience: 1,
        min_delta: 0.0,
        start_from_epoch: 0,
        baseline: None,
    };

    #[test]
    fn a_phase_ends_after_so_many_epochs_without_improvement() {
        for monitor in [Monitor::ValLoss, Monitor::ValAccuracy] {
            let over = |accuracies: &[f64], patience, min_delta| {
                is_over(
                    EarlyStopping {
                        patience,
                        min_delta,
                        ..STOPPING
                    },
                    monitor,
                    &epochs(accuracies),
                )
            };
            assert!(!over(&[0.5], 1, 0.0));
            assert!(over(&[0.5, 0.5], 1, 0.0));
            assert!(over(&[0.5, 0.5], 0, 0.0));
            assert!(!over(&[0.5, 0.4, 0.6], 2, 0.0));
            assert!(over(&[0.5, 0.4, 0.3], 2, 0.0));
            assert!(over(&[0.5, 0.505, 0.508], 2, 0.01));
            assert!(!over(&[0.5, 0.505, 0.52], 2, 0.01));
        }
    }

    #[test]
    fn the_first_epochs_may_be_left_out() {
        let over = |accuracies: &[f64]| {
            is_over(
                EarlyStopping {
                    start_from_epoch: 2,
                    ..STOPPING
                },
                Monitor::ValLoss,
                &epochs(accuracies),
            )
        };
        assert!(!over(&[0.9, 0.5]));
        // The first that counts is the best so far, whatever was before.
        assert!(!over(&[0.9, 0.5, 0.4]));
        assert!(over(&[0.9, 0.5, 0.4, 0.3]));
    }

    #[test]
    fn a_baseline_must_be_beaten_before_the_waiting_begins_again() {
        let over = |accuracies: &[f64]| {
            let stopping = EarlyStopping {
                patience: 3,
                baseline: Some(0.8),
                ..STOPPING
            };
            is_over(stopping, Monitor::ValAccuracy, &epochs(accuracies))
        };
        // An improvement never ends a phase, but below the baseline it is waited for.
        assert!(!over(&[0.5, 0.6, 0.7, 0.75]));
        assert!(over(&[0.5, 0.6, 0.7, 0.7]));
        assert!(!over(&[0.5, 0.6, 0.9, 0.7]));
    }

    #[test]
    fn each_epoch_is_of_the_phase_that_had_not_ended() {
        let set = [
            "training.phases=[{epochs=3, early_stopping={patience=1}}, {epochs=2}, {epochs=1}]",
            "training.monitor=\"val_accuracy\"",
        ];
        let recipe = Recipe::parse(
            "layers = [{ type = \"flatten\" }, { type = \"dense\", units = 10 }]",
            "small.toml",
            "small",
            &set.map(String::from),
        )
        .unwrap();
        let phases = |accuracies: &[f64]| {
            let mut history = History::new(recipe.training.monitor);
            history.epochs = epochs(accuracies);
            phases_of(&recipe.training, &history)
        };
        assert_eq!(phases(&[]), [0; 0]);
        assert_eq!(phases(&[0.5, 0.6, 0.7]), [0, 0, 0]);
        assert_eq!(phases(&[0.5, 0.6, 0.7, 0.8, 0.9]), [0, 0, 0, 1, 1]);
        assert_eq!(phases(&[0.5, 0.5, 0.7, 0.8, 0.9]), [0, 0, 1, 1, 2]);
        // As many as there are, also where a recipe was changed since.
        assert_eq!(phases(&[0.5, 0.5, 0.7, 0.8, 0.9, 0.9]), [0, 0, 1, 1, 2, 2]);
    }

    #[test]
    fn a_training_is_finished_after_the_last_phase_or_its_early_stopping() {
        let set = [
            "training.phases=[{epochs=2}, {epochs=3, early_stopping={patience=1}}]",
            "training.monitor=\"val_accuracy\"",
        ];
        let recipe = Recipe::parse(
            "layers = [{ type = \"flatten\" }, { type = \"dense\", units = 10 }]",
            "small.toml",
            "small",
            &set.map(String::from),
        )
        .unwrap();
        let training = &recipe.training;
        let finished = |phase, done, accuracies: &[f64]| {
            let history = History {
                epochs: epochs(accuracies),
                monitor: training.monitor,
            };
            let progress = Progress {
                phase,
                epochs: done,
                history,
            };
            is_finished(training, &progress)
        };
        assert!(!finished(0, 2, &[0.5, 0.6]));
        assert!(!finished(1, 2, &[0.5, 0.6, 0.7, 0.8]));
        assert!(finished(1, 3, &[0.5, 0.6, 0.7, 0.8, 0.9]));
        assert!(finished(1, 2, &[0.5, 0.6, 0.7, 0.7]));
        // The phase before does not count for its patience.
        assert!(!finished(1, 1, &[0.5, 0.6, 0.6]));
    }
}
