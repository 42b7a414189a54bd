//! Measuring in turns, the warm-up apart, so that what else the machine does hits all targets
//! alike; and the plan of what is measured, and for how long.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kiln_metrics::Latency;
use kiln_util::CancelToken;

use super::{BenchTarget, Input, Measurement};
use crate::context::Context;
use crate::error::Result;
use crate::event::{Event, Task};

/// Number of turns that each target has, where its runs are short enough.
const TURNS: u32 = 10;

/// Runs that are not counted, after the first: as many as fit into this time, at least one.
const WARM_UP: Duration = Duration::from_millis(200);

/// Fewest runs that are counted where a time is given.
const FEWEST: usize = 3;

/// Measures all targets. Returns false if the work was cancelled: what was measured by then is left
/// out.
pub fn measure(
    targets: &mut [BenchTarget],
    plan: &BenchPlan,
    context: &Context<'_>,
) -> Result<bool> {
    let inputs = targets
        .iter()
        .map(|target| Input::random(target.model(), plan.batch_size));
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    let cancel = &context.cancel;
    let _watch = cancel.watch();
    let task = context.task(Task::Bench, Some(u64::from(TURNS) * targets.len() as u64));
    let announce = |target: &BenchTarget, warm_up| {
        context.emit(&Event::Timing {
            target: target.title(),
            batch_size: plan.batch_size,
            warm_up,
        });
    };
    let mut firsts = Vec::with_capacity(targets.len());
    for (target, input) in targets.iter().zip(&inputs) {
        announce(target, true);
        firsts.push(target.run(input)?);
        let run = || target.run(input);
        Runs::default().turn(plan.callers, &Share::Time(WARM_UP), cancel, run)?;
    }
    let mut runs: Vec<Runs> = targets.iter().map(|_| Runs::default()).collect();
    while !cancel.is_cancelled() && runs.iter().any(|runs| !runs.are_enough(plan.length)) {
        for ((target, input), runs) in targets.iter().zip(&inputs).zip(&mut runs) {
            announce(target, false);
            if !runs.are_enough(plan.length) {
                let share = runs.share(plan);
                runs.turn(plan.callers, &share, cancel, || target.run(input))?;
            }
            task.advance(1);
        }
    }
    drop(task);
    if cancel.is_cancelled() {
        return Ok(false);
    }
    for ((target, runs), first) in targets.iter_mut().zip(&runs).zip(firsts) {
        target.measurements.push(Measurement {
            first,
            latency: runs.latency(plan.batch_size as u64)?,
        });
    }
    Ok(true)
}

/// What the callers do in a turn.
enum Share {
    /// Each calls, at least once, until the turn has taken this long.
    Time(Duration),
    /// So many calls are left to all of them together.
    Calls(AtomicUsize),
}

impl Share {
    /// Leaves so many calls to the callers.
    fn calls(number: usize) -> Self {
        Self::Calls(AtomicUsize::new(number))
    }

    /// Returns whether a caller that has made so many calls since the turn began is to make another, which
    /// then counts as made.
    fn take(&self, made: usize, start: Instant) -> bool {
        match self {
            Self::Time(time) => made == 0 || start.elapsed() < *time,
            Self::Calls(left) => left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                })
                .is_ok(),
        }
    }
}

/// The runs of one target.
#[derive(Default)]
struct Runs {
    durations: Vec<Duration>,
    /// How long the turns took.
    time: Duration,
}

impl Runs {
    fn are_enough(&self, length: BenchLength) -> bool {
        match length {
            BenchLength::Runs(runs) => self.durations.len() >= runs as usize,
            BenchLength::Time(time) => self.time >= time && self.durations.len() >= FEWEST,
        }
    }

    /// A tenth of all that is wanted, and of calls no fewer than there are callers, or what is left
    /// of it.
    fn share(&self, plan: &BenchPlan) -> Share {
        match plan.length {
            BenchLength::Time(time) => Share::Time(time / TURNS),
            BenchLength::Runs(runs) => {
                let left = (runs as usize).saturating_sub(self.durations.len());
                Share::calls((runs.div_ceil(TURNS) as usize).max(plan.callers).min(left))
            }
        }
    }

    /// Lets all callers call until their share is done.
    fn turn(
        &mut self,
        callers: usize,
        share: &Share,
        cancel: &CancelToken,
        run: impl Fn() -> Result<Duration> + Sync,
    ) -> Result<()> {
        let start = Instant::now();
        let caller = || -> Result<Vec<Duration>> {
            let mut durations = Vec::new();
            while !cancel.is_cancelled() && share.take(durations.len(), start) {
                durations.push(run()?);
            }
            Ok(durations)
        };
        if callers == 1 {
            self.durations.extend(caller()?);
        } else {
            let all = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..callers).map(|_| scope.spawn(caller)).collect();
                threads
                    .into_iter()
                    .map(|thread| {
                        thread
                            .join()
                            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                    })
                    .collect::<Vec<_>>()
            });
            for durations in all {
                self.durations.extend(durations?);
            }
        }
        self.time += start.elapsed();
        Ok(())
    }

    /// With the throughput of all callers together.
    fn latency(&self, batch: u64) -> Result<Latency> {
        let latency = Latency::from_durations(&self.durations, batch)?;
        let images = batch as f64 * self.durations.len() as f64;
        Ok(Latency {
            images_per_second: images / self.time.as_secs_f64().max(1e-9),
            ..latency
        })
    }
}

/// How long is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BenchLength {
    /// Until the turns of each target together have taken this long.
    Time(Duration),
    /// This many runs of each target, shared out among its callers.
    Runs(u32),
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BenchPlan {
    /// Number of images of a run.
    pub batch_size: usize,
    /// Number of threads that call a target at the same time.
    pub callers: usize,
    /// How long is measured.
    pub length: BenchLength,
}

impl BenchPlan {
    /// Plans runs of one caller.
    pub const fn new(batch_size: usize, length: BenchLength) -> Self {
        Self {
            batch_size,
            callers: 1,
            length,
        }
    }

    /// Sets the number of threads that call a target at the same time; at least 1.
    #[must_use]
    pub const fn callers(mut self, callers: usize) -> Self {
        self.callers = if callers == 0 { 1 } else { callers };
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(plan: BenchPlan, each: Duration) -> Vec<usize> {
        let (mut runs, mut turns) = (Runs::default(), Vec::new());
        while !runs.are_enough(plan.length) {
            let (before, share) = (runs.durations.len(), runs.share(&plan));
            let run = || {
                std::thread::sleep(each);
                Ok(each)
            };
            runs.turn(plan.callers, &share, &CancelToken::new(), run)
                .unwrap();
            turns.push(runs.durations.len() - before);
        }
        turns
    }

    #[test]
    fn turns_share_out_what_was_asked_for() {
        let runs = |runs, callers| {
            turns(
                BenchPlan::new(1, BenchLength::Runs(runs)).callers(callers),
                Duration::ZERO,
            )
        };
        assert_eq!(runs(25, 1), [3, 3, 3, 3, 3, 3, 3, 3, 1]);
        assert_eq!(runs(1, 1), [1]);
        assert_eq!(runs(60, 3), [6; 10]);
        assert_eq!(runs(5, 4), [4, 1]);
        assert_eq!(runs(3, 4), [3]);
        // Runs longer than a turn: one each, and at least three.
        let length = BenchLength::Time(Duration::from_millis(10));
        assert_eq!(
            turns(BenchPlan::new(1, length), Duration::from_millis(20)),
            [1; 3]
        );
    }

    #[test]
    fn callers_call_at_the_same_time_and_their_throughput_adds_up() {
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut runs = Runs::default();
        let run = || {
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(20));
            inside.fetch_sub(1, Ordering::SeqCst);
            Ok(Duration::from_millis(20))
        };
        runs.turn(4, &Share::calls(20), &CancelToken::new(), run)
            .unwrap();
        assert!(most.into_inner() > 1, "no two calls at a time");
        let latency = runs.latency(2).unwrap();
        assert_eq!(latency.calls, 20);
        let rate = 40.0 / runs.time.as_secs_f64();
        assert!((latency.images_per_second / rate - 1.0).abs() < 1e-9);
    }
}
