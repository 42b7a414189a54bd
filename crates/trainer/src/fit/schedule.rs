//! The learning rate's factor as a pure function of what was done so far, so that a
//! resumed training continues exactly where it was.

use std::f64::consts::PI;

use kiln_model::{Monitor, Schedule, ScheduleKind};
use kiln_run::Epoch;

use super::improvement::better_by;

/// Where in its phase a training is.
#[derive(Debug, Clone, Copy)]
pub struct Position<'a> {
    /// Steps taken in the phase.
    pub step: u64,
    /// Steps of an epoch.
    pub epoch_steps: u64,
    /// Epochs of the phase.
    pub epochs: usize,
    /// The phase's epochs so far.
    pub history: &'a [Epoch],
}

/// The factor for the rates of the next step. `learning_rate` is the optimizer's.
pub fn factor(schedule: &Schedule, monitor: Monitor, learning_rate: f64, at: Position<'_>) -> f64 {
    let warmup = schedule.warmup_steps + schedule.warmup_epochs * at.epoch_steps;
    if at.step < warmup {
        return (at.step + 1) as f64 / warmup as f64;
    }
    let epoch = at.step / at.epoch_steps.max(1);
    let total = at.epoch_steps * at.epochs as u64;
    match &schedule.kind {
        ScheduleKind::Constant => 1.0,
        ScheduleKind::Step { step_size, gamma } => power(*gamma, epoch / *step_size as u64),
        ScheduleKind::Exponential { gamma } => power(*gamma, epoch),
        ScheduleKind::Cosine { alpha } => {
            let done = (at.step - warmup) as f64 / total.saturating_sub(warmup).max(1) as f64;
            between(1.0, *alpha, done)
        }
        ScheduleKind::PiecewiseConstant { boundaries, values } => {
            let stretch = boundaries
                .iter()
                .filter(|&&boundary| boundary as u64 <= epoch)
                .count();
            values[stretch] / learning_rate
        }
        ScheduleKind::OneCycle {
            pct_start,
            div_factor,
            final_div_factor,
        } => {
            // As PyTorch counts: the first step is at the beginning, the last one at the end.
            let last = total.saturating_sub(1).max(1) as f64;
            let top = (pct_start * total as f64 - 1.0).max(1.0);
            let (first, step) = (1.0 / div_factor, at.step as f64);
            if step <= top {
                between(first, 1.0, step / top)
            } else {
                between(
                    1.0,
                    first / final_div_factor,
                    (step - top) / (last - top).max(1.0),
                )
            }
        }
        ScheduleKind::ReduceOnPlateau {
            factor,
            patience,
            min_delta,
            cooldown,
            min_lr,
        } => {
            let reductions = plateaus(monitor, at.history, *patience, *min_delta, *cooldown);
            power(*factor, reductions).max((min_lr / learning_rate).min(1.0))
        }
    }
}

fn power(factor: f64, times: u64) -> f64 {
    factor.powf(times as f64)
}

/// From `start` to `end` as half a cosine; `done` from 0 to 1.
fn between(start: f64, end: f64, done: f64) -> f64 {
    end + (start - end) * (1.0 + (PI * done.min(1.0)).cos()) / 2.0
}

/// How often Keras's `ReduceLROnPlateau` would have reduced the rate.
fn plateaus(
    monitor: Monitor,
    history: &[Epoch],
    patience: usize,
    min_delta: f64,
    cooldown: usize,
) -> u64 {
    let (mut reductions, mut waited, mut cooling) = (0, 0, 0_usize);
    let mut best: Option<&Epoch> = None;
    for epoch in history {
        if cooling > 0 {
            cooling -= 1;
            waited = 0;
        }
        if best.is_none_or(|best| better_by(monitor, epoch, best, min_delta)) {
            best = Some(epoch);
            waited = 0;
        } else if cooling == 0 {
            waited += 1;
            if waited >= patience {
                reductions += 1;
                cooling = cooldown;
                waited = 0;
            }
        }
    }
    reductions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(losses: &[f64]) -> Vec<Epoch> {
        let epoch = |(at, &val_loss): (usize, &f64)| Epoch {
            epoch: at + 1,
            train_loss: 1.0,
            train_accuracy: 0.5,
            val_loss,
            val_accuracy: 0.5,
            val_macro_f1: None,
            learning_rate: 1.0,
            seconds: 1.0,
            penalty: None,
            images_per_second: None,
        };
        losses.iter().enumerate().map(epoch).collect()
    }

    fn at(kind: &ScheduleKind, warmup_steps: u64, step: u64) -> f64 {
        let position = Position {
            step,
            epoch_steps: 10,
            epochs: 10,
            history: &[],
        };
        factor(
            &Schedule {
                kind: kind.clone(),
                warmup_steps,
                warmup_epochs: 0,
            },
            Monitor::ValLoss,
            0.1,
            position,
        )
    }

    #[track_caller]
    fn assert_near(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() < 1e-9,
            "{found} instead of {expected}"
        );
    }

    #[test]
    fn steps_and_exponentials_count_epochs() {
        let step = ScheduleKind::Step {
            step_size: 3,
            gamma: 0.5,
        };
        for (after, factor) in [(0, 1.0), (29, 1.0), (30, 0.5), (60, 0.25)] {
            assert_near(at(&step, 0, after), factor);
        }
        assert_near(at(&ScheduleKind::Exponential { gamma: 0.9 }, 0, 25), 0.81);
        assert_near(at(&ScheduleKind::Constant, 0, 99), 1.0);
    }

    #[test]
    fn a_table_gives_its_rates() {
        let table = ScheduleKind::PiecewiseConstant {
            boundaries: vec![1, 4],
            values: vec![0.1, 0.02, 0.5],
        };
        // The optimizer's rate is 0.1.
        for (step, factor) in [
            (0, 1.0),
            (9, 1.0),
            (10, 0.2),
            (39, 0.2),
            (40, 5.0),
            (99, 5.0),
        ] {
            assert_near(at(&table, 0, step), factor);
        }
    }

    #[test]
    fn a_cosine_ends_at_its_share_after_the_warm_up() {
        let cosine = ScheduleKind::Cosine { alpha: 0.1 };
        assert_near(at(&cosine, 0, 0), 1.0);
        assert_near(at(&cosine, 0, 50), 0.55);
        assert_near(at(&cosine, 0, 100), 0.1);
        // Keras's: step (n + 1) of the warm-up, then the decay over the other steps.
        assert_near(at(&cosine, 20, 0), 0.05);
        assert_near(at(&cosine, 20, 19), 1.0);
        assert_near(at(&cosine, 20, 60), 0.55);
    }

    #[test]
    fn one_cycle_gives_pytorchs_rates() {
        // torch.optim.lr_scheduler.OneCycleLR(max_lr=1, total_steps=100), PyTorch 2.15, at these
        // steps.
        let cycle = ScheduleKind::OneCycle {
            pct_start: 0.3,
            div_factor: 25.0,
            final_div_factor: 1e4,
        };
        for (step, expected) in [
            (0, 0.04),
            (10, 0.295_163_948),
            (29, 1.0),
            (30, 0.999_496_535),
            (64, 0.500_002),
            (99, 4e-6),
        ] {
            let found = at(&cycle, 0, step);
            assert!(
                (found - expected).abs() < 1e-8,
                "step {step}: {found} instead of {expected}"
            );
        }
    }

    #[test]
    fn a_plateau_reduces_after_its_patience_and_cools_down() {
        let plateau = |losses: &[f64], cooldown| {
            plateaus(Monitor::ValLoss, &epochs(losses), 2, 0.01, cooldown)
        };
        assert_eq!(plateau(&[1.0, 0.9, 0.895, 0.894], 0), 1);
        assert_eq!(plateau(&[1.0, 0.9, 0.895, 0.8], 0), 0);
        assert_eq!(plateau(&[1.0, 1.0, 1.0, 1.0, 1.0], 0), 2);
        assert_eq!(plateau(&[1.0, 1.0, 1.0, 1.0, 1.0], 3), 1);
    }

    #[test]
    fn a_plateau_never_goes_below_its_least_rate() {
        let kind = ScheduleKind::ReduceOnPlateau {
            factor: 0.1,
            patience: 1,
            min_delta: 0.0,
            cooldown: 0,
            min_lr: 0.002,
        };
        let history = epochs(&[1.0, 1.0, 1.0, 1.0]);
        let position = Position {
            step: 40,
            epoch_steps: 10,
            epochs: 10,
            history: &history,
        };
        assert_near(
            factor(
                &Schedule {
                    kind,
                    warmup_steps: 0,
                    warmup_epochs: 0,
                },
                Monitor::ValLoss,
                0.1,
                position,
            ),
            0.02,
        );
    }
}
