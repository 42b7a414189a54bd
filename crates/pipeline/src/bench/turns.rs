//! Measuring in turns, so that what else the machine does hits all contestants alike.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kiln_metrics::Latency;

use super::contestant::{Contestant, Measurement};
use super::input::Input;
use crate::interrupt;
use crate::terminal::Terminal;

/// Number of turns that each contestant has, where its runs are short enough.
const TURNS: u32 = 10;

/// Runs that are not counted, after the first: as many as fit into this time, at least one.
const WARM_UP: Duration = Duration::from_millis(200);

/// Fewest runs that are counted where a time is given.
const FEWEST: usize = 3;

/// How long is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// Until the turns of each contestant together have taken this long.
    Time(Duration),
    /// This many runs of each contestant, shared out among its callers.
    Runs(u32),
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Number of images of a run.
    pub batch_size: usize,
    /// Number of threads that call a contestant at the same time.
    pub callers: usize,
    pub length: Length,
}

/// Measures all contestants. What was measured before Ctrl-C is left out.
pub fn measure(
    contestants: &mut [Contestant],
    plan: &Plan,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    let inputs = contestants
        .iter()
        .map(|contestant| Input::random(contestant.model(), plan.batch_size));
    let inputs = inputs.collect::<anyhow::Result<Vec<_>>>()?;
    let batch = plan.batch_size as u64;
    let bar = terminal.bar(
        u64::from(TURNS) * contestants.len() as u64,
        "   Measuring {msg} {bar:24.green} {pos:>3}/{len} turns {elapsed:>4}",
    );
    let mut firsts = Vec::with_capacity(contestants.len());
    for (contestant, input) in contestants.iter().zip(&inputs) {
        bar.set_message(format!("batch {batch}, warm-up of {}", contestant.title));
        firsts.push(contestant.run(input)?);
        Runs::default().turn(plan.callers, &Share::Time(WARM_UP), || {
            contestant.run(input)
        })?;
    }
    let mut runs: Vec<Runs> = contestants.iter().map(|_| Runs::default()).collect();
    while !interrupt::requested() && runs.iter().any(|runs| !runs.are_enough(plan.length)) {
        for ((contestant, input), runs) in contestants.iter().zip(&inputs).zip(&mut runs) {
            bar.set_message(format!("batch {batch} on {}", contestant.title));
            if !runs.are_enough(plan.length) {
                let share = runs.share(plan);
                runs.turn(plan.callers, &share, || contestant.run(input))?;
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    if interrupt::requested() {
        return Ok(());
    }
    for ((contestant, runs), first) in contestants.iter_mut().zip(&runs).zip(firsts) {
        contestant.measurements.push(Measurement {
            first,
            latency: runs.latency(batch)?,
        });
    }
    Ok(())
}

/// What the callers do in a turn.
enum Share {
    /// Each calls, at least once, until the turn has taken this long.
    Time(Duration),
    /// So many calls are left to all of them together.
    Calls(AtomicUsize),
}

impl Share {
    fn calls(number: usize) -> Self {
        Self::Calls(AtomicUsize::new(number))
    }

    /// Whether a caller that has made so many calls since the turn began is to make another, which
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

/// The runs of one contestant.
#[derive(Default)]
struct Runs {
    durations: Vec<Duration>,
    /// How long the turns took.
    time: Duration,
}

impl Runs {
    fn are_enough(&self, length: Length) -> bool {
        match length {
            Length::Runs(runs) => self.durations.len() >= runs as usize,
            Length::Time(time) => self.time >= time && self.durations.len() >= FEWEST,
        }
    }

    /// A tenth of all that is wanted, and of calls no fewer than there are callers, or what is left
    /// of it.
    fn share(&self, plan: &Plan) -> Share {
        match plan.length {
            Length::Time(time) => Share::Time(time / TURNS),
            Length::Runs(runs) => {
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
        run: impl Fn() -> anyhow::Result<Duration> + Sync,
    ) -> anyhow::Result<()> {
        let start = Instant::now();
        let caller = || -> anyhow::Result<Vec<Duration>> {
            let mut durations = Vec::new();
            while !interrupt::requested() && share.take(durations.len(), start) {
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
                    .map(|thread| thread.join().expect("runs do not panic"))
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
    fn latency(&self, batch: u64) -> anyhow::Result<Latency> {
        let latency = Latency::from_durations(&self.durations, batch)?;
        let images = batch as f64 * self.durations.len() as f64;
        Ok(Latency {
            images_per_second: images / self.time.as_secs_f64().max(1e-9),
            ..latency
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(plan: Plan, each: Duration) -> Vec<usize> {
        let (mut runs, mut turns) = (Runs::default(), Vec::new());
        while !runs.are_enough(plan.length) {
            let (before, share) = (runs.durations.len(), runs.share(&plan));
            let run = || {
                std::thread::sleep(each);
                Ok(each)
            };
            runs.turn(plan.callers, &share, run).unwrap();
            turns.push(runs.durations.len() - before);
        }
        turns
    }

    #[test]
    fn turns_share_out_what_was_asked_for() {
        let runs = |runs, callers| {
            turns(
                Plan {
                    batch_size: 1,
                    callers,
                    length: Length::Runs(runs),
                },
                Duration::ZERO,
            )
        };
        assert_eq!(runs(25, 1), [3, 3, 3, 3, 3, 3, 3, 3, 1]);
        assert_eq!(runs(1, 1), [1]);
        assert_eq!(runs(60, 3), [6; 10]);
        assert_eq!(runs(5, 4), [4, 1]);
        assert_eq!(runs(3, 4), [3]);
        // Runs longer than a turn: one each, and at least three.
        let length = Length::Time(Duration::from_millis(10));
        assert_eq!(
            turns(
                Plan {
                    batch_size: 1,
                    callers: 1,
                    length
                },
                Duration::from_millis(20)
            ),
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
        runs.turn(4, &Share::calls(20), run).unwrap();
        assert!(most.into_inner() > 1, "no two calls at a time");
        let latency = runs.latency(2).unwrap();
        assert_eq!(latency.calls, 20);
        let rate = 40.0 / runs.time.as_secs_f64();
        assert!((latency.images_per_second / rate - 1.0).abs() < 1e-9);
    }
}
