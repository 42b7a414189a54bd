//! A sweep that several processes work on, in one folder.
//!
//! ```text
//! .claims/1 … n    locked by the process that works on the combination of this number
//! .claims/record   locked while sweep.json, results.csv and the page are written
//! .claims/best     locked while the best run is compared on all engines
//! ```
//!
//! The system unlocks a file when its process ends, so that nothing has to be found stale.

use std::thread;
use std::time::Duration;

use super::results::SweepRecord;
use super::runner::{Flow, Runner};
use crate::error::Result;
use crate::event::Event;
use crate::inputs::Shard;

/// How often is looked whether others are done.
const LOOK: Duration = Duration::from_millis(200);

impl Runner<'_> {
    /// Runs what no process has, beginning with a share, until all is complete. Returns whether it was cancelled.
    pub fn run_shared(mut self, shard: Shard) -> Result<bool> {
        let _watch = self.context.cancel.watch();
        // What failed before this process began is tried again.
        self.earlier_errors = self.written_errors();
        self.write()?;
        let mut order: Vec<usize> = (0..self.runs.len()).collect();
        // Stable: what is not of the share comes after it, in order.
        order.sort_by_key(|&at| !shard.has(at as u64));
        let mut told = false;
        loop {
            let mut of_others = 0;
            for &at in &order {
                match self.take(at)? {
                    Taken::Done => {}
                    Taken::ByAnother => of_others += 1,
                    Taken::Cancelled => return Ok(true),
                }
            }
            if of_others == 0 {
                break;
            }
            if !told {
                self.context.emit(&Event::SweepAwaited { of_others });
                told = true;
            }
            if self.context.cancel.is_cancelled() {
                return Ok(true);
            }
            thread::sleep(LOOK);
        }
        self.write()?;
        let Some(_best) = self.folder.wait_for("best", &self.context.cancel)? else {
            return Ok(true);
        };
        self.compare_best()
    }

    /// Works on a combination unless another process does.
    fn take(&mut self, at: usize) -> Result<Taken> {
        if self.is_settled(at) {
            return Ok(Taken::Done);
        }
        let Some(_claim) = self.folder.claim(&(at + 1).to_string())? else {
            return Ok(Taken::ByAnother);
        };
        // Another process may have been done with it, or begun it, since it was looked for.
        self.merge()?;
        if self.is_settled(at) {
            return Ok(Taken::Done);
        }
        self.earlier_errors[at] = None;
        Ok(match self.step(at, None)? {
            Flow::GoesOn => Taken::Done,
            Flow::Cancelled => Taken::Cancelled,
        })
    }

    fn is_settled(&self, at: usize) -> bool {
        self.is_complete(at) || self.record.combinations[at].error.is_some()
    }

    /// Finds what other processes have done.
    pub(super) fn merge(&mut self) -> Result<()> {
        let errors = self.written_errors();
        for (at, error) in errors.into_iter().enumerate() {
            if self.is_settled(at) {
                continue;
            }
            self.look_for(at)?;
            if !self.is_complete(at) && error != self.earlier_errors[at] {
                self.record.combinations[at].error = error;
            }
        }
        Ok(())
    }

    /// Why combinations failed by the record that is written; of a record of other combinations nothing counts.
    fn written_errors(&self) -> Vec<Option<String>> {
        let own = &self.record.combinations;
        let written = self.folder.record::<SweepRecord>().ok();
        let entries = written.map_or_else(Vec::new, |record| record.combinations);
        let is_same = entries.len() == own.len()
            && own
                .iter()
                .zip(&entries)
                .all(|(own, other)| own.label == other.label);
        if is_same {
            entries.into_iter().map(|entry| entry.error).collect()
        } else {
            vec![None; own.len()]
        }
    }
}

/// What became of a combination.
enum Taken {
    /// It is complete, or failed.
    Done,
    ByAnother,
    Cancelled,
}
