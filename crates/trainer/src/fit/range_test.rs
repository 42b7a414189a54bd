//! The learning-rate range test (Smith 2015, arXiv:1506.01186): training while the learning rate grows from step
//! to step, to see at which rates the loss falls.

use std::ops::ControlFlow;

use super::{State, Task, check, on_device};
use crate::TrainError;

/// The rates of a range test. The default has fastai's: 100 steps from 1e-7 to 10.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RangeTest {
    /// Rate of the first step, above 0.
    pub lowest: f64,
    /// Rate of the last step, above `lowest`.
    pub highest: f64,
    /// Number of steps, at least 2.
    pub steps: usize,
}

impl Default for RangeTest {
    fn default() -> Self {
        Self {
            lowest: 1e-7,
            highest: 10.0,
            steps: 100,
        }
    }
}

impl RangeTest {
    /// Returns the rate of a step, counted from 0: each is the same multiple of the one before.
    pub fn learning_rate(&self, step: usize) -> f64 {
        let done = step as f64 / (self.steps - 1) as f64;
        self.lowest * (self.highest / self.lowest).powf(done)
    }
}

/// A step of a range test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RangeStep {
    /// Rate with which the step was taken.
    pub learning_rate: f64,
    /// Mean training loss of the step's images, in nats, before the step: a finite number.
    pub loss: f64,
}

/// Why a range test ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RangeEnd {
    /// All rates were tried.
    Complete,
    /// The loss is more than four times its smallest value, by a moving average.
    Diverged,
    /// The loss is not a number any more.
    NotFinite {
        /// Rate of the step that this loss came before.
        learning_rate: f64,
        /// The loss.
        loss: f64,
    },
    /// It was cancelled.
    Cancelled,
}

/// Result of [`range_test`].
#[derive(Debug, Clone, PartialEq)]
pub struct RangeTested {
    /// The rates that were to be tried.
    pub range: RangeTest,
    /// The steps in order, with growing rates.
    pub steps: Vec<RangeStep>,
    /// Why there are no more.
    pub end: RangeEnd,
}

/// Number of times its smallest value that the average loss reaches at most, as in fastai and Lightning.
const DIVERGED: f64 = 4.0;

/// Share that is left of the average after each step. With fastai's and Lightning's 0.98 it takes decades of rates more to
/// see that a loss diverges.
const DECAY: f64 = 0.9;

/// Trains with growing learning rates, whatever the task's schedule, on the batches that [`fit`](super::fit) would train on,
/// in as many epochs as it takes. Layers with learning rates of their own keep the proportion. The weights are
/// dropped in the end. `observer` hears of every step.
///
/// # Errors
///
/// [`TrainError`]: weights or samples that do not fit, an optimizer without a learning rate, or a device that fails.
pub fn range_test(
    task: &Task<'_>,
    range: &RangeTest,
    observer: &mut (dyn FnMut(&RangeStep) + Send),
) -> Result<RangeTested, TrainError> {
    on_device(task.device, || {
        check(task)?;
        State::new(task)?.range_test(range, observer)
    })
}

impl State<'_> {
    fn range_test(
        &mut self,
        range: &RangeTest,
        observer: &mut (dyn FnMut(&RangeStep) + Send),
    ) -> Result<RangeTested, TrainError> {
        let task = self.task;
        let mut steps = Vec::with_capacity(range.steps);
        let mut average = Average::default();
        // Of the batches since the last step.
        let mut loss = 0.0;
        let mut end = RangeEnd::Complete;
        for epoch in 1.. {
            let set_rate = |state: &mut Self| {
                state.rates.set(range.learning_rate(state.steps as usize));
            };
            let ended = self.pass(epoch, set_rate, |state, batch| {
                loss += batch.loss * batch.share;
                if !loss.is_finite() {
                    let learning_rate = state.rates.current();
                    end = RangeEnd::NotFinite {
                        learning_rate,
                        loss,
                    };
                    return Ok(ControlFlow::Break(()));
                }
                if batch.ends_step {
                    let step = RangeStep {
                        learning_rate: state.rates.current(),
                        loss: std::mem::take(&mut loss),
                    };
                    steps.push(step);
                    observer(&step);
                    if average.diverges(step.loss) {
                        end = RangeEnd::Diverged;
                        return Ok(ControlFlow::Break(()));
                    }
                    if steps.len() == range.steps {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                let go_on = task.go_on();
                if go_on.is_break() {
                    end = RangeEnd::Cancelled;
                }
                Ok(go_on)
            })?;
            if ended.is_break() {
                break;
            }
        }
        Ok(RangeTested {
            range: *range,
            steps,
            end,
        })
    }
}

impl RangeTested {
    /// Whether it was cancelled.
    pub(super) fn is_cancelled(&self) -> bool {
        self.end == RangeEnd::Cancelled
    }
}

/// The exponential moving average of the losses, and whether they diverge.
#[derive(Default)]
struct Average {
    losses: i32,
    /// Biased towards 0.
    biased: f64,
    /// The smallest average without that bias.
    smallest: Option<f64>,
}

impl Average {
    /// Adds a loss; returns whether the average is far above its smallest value.
    fn diverges(&mut self, loss: f64) -> bool {
        self.losses += 1;
        self.biased = DECAY * self.biased + (1.0 - DECAY) * loss;
        // As Adam corrects its moments.
        let average = self.biased / (1.0 - DECAY.powi(self.losses));
        let smallest = self.smallest.map_or(average, |least| least.min(average));
        self.smallest = Some(smallest);
        average > DIVERGED * smallest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_grow_by_the_same_factor() {
        let range = RangeTest {
            lowest: 1e-3,
            highest: 10.0,
            steps: 5,
        };
        for (step, expected) in [1e-3, 1e-2, 1e-1, 1.0, 10.0].into_iter().enumerate() {
            let found = range.learning_rate(step);
            assert!((found / expected - 1.0).abs() < 1e-12, "{found} {expected}");
        }
    }

    #[test]
    fn losses_diverge_beyond_four_times_the_smallest_average() {
        let mut average = Average::default();
        assert!((0..50).all(|_| !average.diverges(1.0)));
        // Each loss of 9 takes the average a tenth of the way there: 1.8, 2.52, 3.17, 3.75, 4.28.
        let steps = (0..50).take_while(|_| !average.diverges(9.0)).count();
        assert_eq!(steps, 4);
    }
}
