//! Measuring in turns, so that what else the machine does hits all contestants alike.

use std::time::Duration;

use kiln_eval::Latency;

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

/// How long is measured at each batch size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// Until the runs of each contestant together have taken this long.
    Time(Duration),
    /// This many runs of each contestant.
    Runs(u32),
}

/// Measures all contestants at one batch size. What was measured before Ctrl-C is left out.
pub fn measure(
    contestants: &mut [Contestant],
    batch_size: usize,
    length: Length,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    let inputs = contestants.iter().map(|contestant| Input::random(contestant.model(), batch_size));
    let inputs = inputs.collect::<anyhow::Result<Vec<_>>>()?;
    let batch = batch_size as u64;
    let bar = terminal.bar(
        u64::from(TURNS) * contestants.len() as u64,
        "   Measuring {msg} {bar:24.green} {pos:>3}/{len} turns {elapsed:>4}",
    );
    let mut firsts = Vec::with_capacity(contestants.len());
    for (contestant, input) in contestants.iter().zip(&inputs) {
        bar.set_message(format!("batch {batch}, warm-up of {}", contestant.title));
        firsts.push(contestant.run(input)?);
        let mut spent = Duration::ZERO;
        while spent < WARM_UP && !interrupt::requested() {
            spent += contestant.run(input)?;
        }
    }
    let mut runs: Vec<Runs> = contestants.iter().map(|_| Runs::default()).collect();
    while !interrupt::requested() && runs.iter().any(|runs| !runs.are_enough(length)) {
        for ((contestant, input), runs) in contestants.iter().zip(&inputs).zip(&mut runs) {
            bar.set_message(format!("batch {batch} on {}", contestant.title));
            runs.turn(length, || contestant.run(input))?;
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    if interrupt::requested() {
        return Ok(());
    }
    for ((contestant, runs), first) in contestants.iter_mut().zip(&runs).zip(firsts) {
        let latency = Latency::from_durations(&runs.durations, batch)?;
        contestant.measurements.push(Measurement { first, latency });
    }
    Ok(())
}

/// The runs of one contestant.
#[derive(Default)]
struct Runs {
    durations: Vec<Duration>,
    total: Duration,
}

impl Runs {
    fn are_enough(&self, length: Length) -> bool {
        match length {
            Length::Runs(runs) => self.durations.len() >= runs as usize,
            Length::Time(time) => self.total >= time && self.durations.len() >= FEWEST,
        }
    }

    /// A tenth of all runs, at least one; none where there are enough.
    fn turn(&mut self, length: Length, run: impl Fn() -> anyhow::Result<Duration>) -> anyhow::Result<()> {
        let (before, start) = (self.durations.len(), self.total);
        while !self.are_enough(length) && !interrupt::requested() {
            let turn_is_over = match length {
                Length::Runs(runs) => self.durations.len() - before >= runs.div_ceil(TURNS) as usize,
                Length::Time(time) => self.total.saturating_sub(start) >= time / TURNS,
            };
            if turn_is_over {
                break;
            }
            let duration = run()?;
            self.durations.push(duration);
            self.total += duration;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(length: Length, each: Duration) -> Vec<usize> {
        let mut runs = Runs::default();
        let mut turns = Vec::new();
        while !runs.are_enough(length) {
            let before = runs.durations.len();
            runs.turn(length, || Ok(each)).unwrap();
            turns.push(runs.durations.len() - before);
        }
        turns
    }

    #[test]
    fn turns_share_out_what_was_asked_for() {
        assert_eq!(turns(Length::Runs(25), Duration::ZERO), [3, 3, 3, 3, 3, 3, 3, 3, 1]);
        assert_eq!(turns(Length::Runs(1), Duration::from_secs(9)), [1]);
        let second = Length::Time(Duration::from_secs(1));
        assert_eq!(turns(second, Duration::from_millis(25)), [4; 10]);
        // Runs longer than a turn: one each, and at least three.
        assert_eq!(turns(second, Duration::from_millis(300)), [1; 4]);
        assert_eq!(turns(second, Duration::from_mins(1)), [1; 3]);
    }
}
