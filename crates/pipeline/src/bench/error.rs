//! Models that cannot be timed.

use crate::hint::Hint;

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
