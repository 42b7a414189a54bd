//! What a learning-rate range test suggests.

use super::range_test::RangeTested;

/// Learning rates that follow from a range test, those of the optimizer.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Suggestion {
    /// A tenth of [`lowest`](Self::lowest): the rate to train with. fastai's `minimum`.
    pub learning_rate: f64,
    /// Where the loss falls most steeply by the logarithm of the rate: fastai's `steep`.
    pub steepest: f64,
    /// Where the loss begins to fall: from here on more than a tenth of its whole fall is done.
    pub falls_from: f64,
    /// Where the loss is lowest, and learning and diverging are even.
    pub lowest: f64,
    /// Whether the loss rises again at higher rates. If not, the lowest loss may not have been reached.
    pub rises_again: bool,
}

/// Width of the smoothing as a share of the steps: the standard deviation of a normal distribution. 0.03 of eight
/// decades are a quarter of one.
const WIDTH: f64 = 0.03;

/// Share of the steps that tell the loss before it changes.
const BEFORE: usize = 10;

/// Share of the fall that is not told from none.
const MARGIN: f64 = 0.1;

/// A fall by less than this share of the loss is none.
const LEAST_FALL: f64 = 0.01;

/// A fall by less than so many standard deviations of the smoothed loss may be chance.
const LEAST_DEVIATIONS: f64 = 5.0;

impl RangeTested {
    /// Returns the smoothed loss of each step: the mean of its neighbors' on both sides, weighted by a normal
    /// distribution over the logarithm of the rate.
    ///
    /// Unlike the moving average of earlier losses that fastai and Lightning draw, it does not lag behind: theirs, which
    /// keeps 0.98 of the average, shows a fall half a test too late. A loss above the first ones counts as the
    /// largest of these, for how far a diverging loss flies tells nothing of the rates before.
    pub fn smoothed(&self) -> Vec<f64> {
        let first = self.before().fold(0.0, f64::max);
        let losses: Vec<f64> = self.steps.iter().map(|step| step.loss.min(first)).collect();
        let width = self.width();
        let mean = |at: usize| {
            let (mut sum, mut weights) = (0.0, 0.0);
            for (other, loss) in losses.iter().enumerate() {
                let weight = (-0.5 * (at.abs_diff(other) as f64 / width).powi(2)).exp();
                sum += weight * loss;
                weights += weight;
            }
            sum / weights
        };
        (0..losses.len()).map(mean).collect()
    }

    /// Suggests a learning rate; none where the loss does not fall by more than chance, or where the test was
    /// cancelled before the loss rose again.
    pub fn suggestion(&self) -> Option<Suggestion> {
        let smoothed = self.smoothed();
        let rate = |at: usize| self.steps[at].learning_rate;
        let lowest = (0..smoothed.len()).min_by(|&a, &b| smoothed[a].total_cmp(&smoothed[b]))?;
        let count = self.before().count();
        let before = self.before().sum::<f64>() / count as f64;
        let fall = before - smoothed[lowest];
        let variance = self
            .before()
            .map(|loss| (loss - before).powi(2))
            .sum::<f64>()
            / count.saturating_sub(1).max(1) as f64;
        // The weights' squares add up to this share of one.
        let values = 2.0 * std::f64::consts::PI.sqrt() * self.width();
        let deviation = (variance / values.max(1.0)).sqrt();
        let falls = fall > LEAST_FALL * before && fall > LEAST_DEVIATIONS * deviation;
        let last = smoothed.last().copied().unwrap_or_default();
        let rises_again = last > smoothed[lowest] + MARGIN * fall;
        if !falls || (self.is_cancelled() && !rises_again) {
            return None;
        }
        let falls_from = (0..=lowest)
            .rev()
            .find(|&at| smoothed[at] >= before - MARGIN * fall)
            .unwrap_or(0);
        let slope = |at: usize| smoothed[at + 1] - smoothed[at - 1];
        let steepest = (falls_from.max(1)..lowest)
            .min_by(|&a, &b| slope(a).total_cmp(&slope(b)))
            .unwrap_or(lowest);
        Some(Suggestion {
            learning_rate: rate(lowest) / 10.0,
            steepest: rate(steepest),
            falls_from: rate(falls_from),
            lowest: rate(lowest),
            rises_again,
        })
    }

    /// The losses before anything was learned: of the first tenth of the steps.
    fn before(&self) -> impl Iterator<Item = f64> {
        let count = (self.range.steps / BEFORE).max(1);
        self.steps.iter().take(count).map(|step| step.loss)
    }

    /// Standard deviation of the smoothing in steps.
    fn width(&self) -> f64 {
        (self.range.steps as f64 * WIDTH).max(0.5)
    }
}

#[cfg(test)]
mod tests {
    use super::super::range_test::{RangeEnd, RangeStep, RangeTest};
    use super::*;

    /// A test with these losses by the logarithm (to base 10) of the rate, of the first steps.
    fn tested(steps: usize, loss: impl Fn(f64) -> f64) -> RangeTested {
        let range = RangeTest::default();
        let step = |at| {
            let learning_rate = range.learning_rate(at);
            RangeStep {
                learning_rate,
                loss: loss(learning_rate.log10()),
            }
        };
        RangeTested {
            steps: (0..steps).map(step).collect(),
            range,
            end: RangeEnd::Complete,
        }
    }

    /// From 2.3 to 0.3 as a logistic curve that is steepest at 10^-3, and up from 10^-1 on.
    fn curve(log: f64) -> f64 {
        let falling = 0.3 + 2.0 / (1.0 + ((log + 3.0) * 4.0).exp());
        falling + 20.0 * (log + 1.0).max(0.0).powi(2)
    }

    #[track_caller]
    fn assert_near(found: f64, log: f64) {
        let found = found.log10();
        assert!((found - log).abs() < 0.15, "10^{found} instead of 10^{log}");
    }

    #[test]
    fn the_steepest_and_the_lowest_point_of_a_curve_are_found() {
        let suggestion = tested(100, curve).suggestion().unwrap();
        assert_near(suggestion.steepest, -3.0);
        // A tenth of the fall is done where exp(4 (x + 3)) is 1/9.
        assert_near(suggestion.falls_from, -3.0 - 9_f64.ln() / 4.0);
        assert!(suggestion.rises_again);
        // The curve is flat there: half a decade.
        let lowest = suggestion.lowest.log10();
        assert!((-1.7..=-0.9).contains(&lowest), "10^{lowest}");
        assert!((suggestion.learning_rate - suggestion.lowest / 10.0).abs() < 1e-12);
    }

    #[test]
    fn noise_and_an_explosion_hardly_move_them() {
        let loss = |log: f64| {
            let exploded = if log > -0.5 { 1e6 } else { 0.0 };
            curve(log) + 0.2 * (log * 1e4).sin() + exploded
        };
        let suggestion = tested(100, loss).suggestion().unwrap();
        assert_near(suggestion.steepest, -3.0);
        let lowest = suggestion.lowest.log10();
        assert!((-1.9..=-0.9).contains(&lowest), "10^{lowest}");
    }

    #[test]
    fn where_the_loss_does_not_fall_nothing_is_suggested() {
        assert_eq!(tested(100, |_| 2.3).suggestion(), None);
        assert_eq!(
            tested(100, |log| 2.3 + 0.3 * (log * 1e4).sin()).suggestion(),
            None
        );
        assert_eq!(tested(100, |log| 9.0 + log).suggestion(), None);
        assert_eq!(tested(1, |_| 2.3).suggestion(), None);
        assert_eq!(tested(0, |_| 2.3).suggestion(), None);
    }

    #[test]
    fn a_test_that_was_cancelled_suggests_what_it_has_seen_the_end_of() {
        for (steps, is_seen) in [(60, false), (95, true)] {
            let cancelled = RangeTested {
                end: RangeEnd::Cancelled,
                ..tested(steps, curve)
            };
            assert_eq!(cancelled.suggestion().is_some(), is_seen, "{steps}");
        }
        let whole = tested(60, curve).suggestion().unwrap();
        assert!(!whole.rises_again);
    }
}
