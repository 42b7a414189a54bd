//! How long an exported model is checked, beside how long it was trained.

use std::time::Duration;

/// Share of a training's time that each check may take.
const SHARE: f64 = 0.1;

/// Time that checks may take, about: what is more than it is checked on fewer images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Comparing Burn and the engines by the parity gate.
    pub gate: Duration,
    /// Comparing the engines on the test images, each but the one whose figures are reported.
    pub test_images: Duration,
}

impl Patience {
    /// After a training of so many seconds: a tenth of them, but always some, in which most models are checked on all images.
    pub fn after(training: f64) -> Self {
        let share = Duration::try_from_secs_f64(training * SHARE).unwrap_or(Duration::MAX);
        Self {
            gate: share.clamp(Duration::from_secs(5), Duration::from_mins(1)),
            test_images: share.max(Duration::from_secs(10)),
        }
    }
}

/// Returns how many of `images` can be computed in a time, at least `fewest` of them.
pub fn affordable(time: Duration, for_one: Duration, fewest: usize, images: usize) -> usize {
    let affordable = time.as_secs_f64() / for_one.as_secs_f64().max(1e-9);
    images.min((affordable as usize).max(fewest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_take_a_tenth_of_the_training_within_limits() {
        let seconds = |training| {
            let patience = Patience::after(training);
            [patience.gate, patience.test_images].map(|it| it.as_secs())
        };
        assert_eq!(seconds(0.0), [5, 10]);
        assert_eq!(seconds(80.0), [8, 10]);
        assert_eq!(seconds(300.0), [30, 30]);
        assert_eq!(seconds(6000.0), [60, 600]);
        assert_eq!(Patience::after(f64::INFINITY).test_images, Duration::MAX);
    }

    #[test]
    fn slow_models_are_checked_on_fewer_images() {
        let second = Duration::from_secs(1);
        assert_eq!(affordable(5 * second, second, 2, 100), 5);
        assert_eq!(affordable(second, 9 * second, 2, 100), 2);
        assert_eq!(affordable(second, 9 * second, 2, 1), 1);
        assert_eq!(affordable(second, Duration::ZERO, 2, 100), 100);
    }
}
