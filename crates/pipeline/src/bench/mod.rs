//! How fast models are: the warm-up apart, then runs in turns.

pub(crate) mod error;
mod input;
mod plan;
mod record;
mod target;
mod turns;

pub use error::BenchError;
pub use plan::{BenchLength, BenchPlan};
pub use record::{BenchRecord, InputRecord, ModelRecord};
pub use target::{BenchTarget, Measurement};
pub use turns::measure;

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
