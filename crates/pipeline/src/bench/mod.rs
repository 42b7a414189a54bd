//! How fast models are: the warm-up apart, then runs in turns.

mod input;
mod record;
mod target;
mod turns;

use std::time::Duration;

use crate::hint::Hint;

pub use record::{BenchRecord, InputRecord, ModelRecord};
pub use target::{BenchTarget, Measurement};
pub use turns::measure;

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

/// Models cannot be timed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// A batch that takes too much memory.
    #[error(
        "a batch of {images} images of {} x {} x {} takes more than {} GiB",
        shape[0], shape[1], shape[2], limit >> 30
    )]
    TooLarge {
        /// Images of the batch.
        images: usize,
        /// Channels, height and width of an image.
        shape: [usize; 3],
        /// Most bytes of a batch.
        limit: usize,
    },
}

impl BenchError {
    /// Returns what to do about it.
    pub const fn hint(&self) -> Option<Hint> {
        match self {
            Self::TooLarge { .. } => Some(Hint::SmallerBatches),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_is_too_large_is_described_in_words() {
        let error = BenchError::TooLarge {
            images: 9000,
            shape: [3, 224, 224],
            limit: 1 << 30,
        };
        assert_eq!(
            error.to_string(),
            "a batch of 9000 images of 3 x 224 x 224 takes more than 1 GiB"
        );
    }
}
