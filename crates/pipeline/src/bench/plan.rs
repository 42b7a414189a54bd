//! What is measured, and how long.

use std::time::Duration;

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
