//! The order of samples in an epoch.

use rand::seq::SliceRandom;

use crate::random::{Use, generator};

/// In which order samples come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As in the view: for validation and evaluation. Images are never augmented.
    Sequential,
    /// A random order (Fisher–Yates) that depends on the seed, the epoch and the number of samples
    /// alone, and is the same on every platform: the random numbers are a `ChaCha8` stream.
    Shuffled {
        /// The seed of the whole training.
        seed: u64,
        /// The epoch; each has an order of its own.
        epoch: u64,
    },
}

impl Order {
    /// These samples in this order.
    pub(super) fn apply(self, indices: &[u32]) -> Vec<u32> {
        let mut indices = indices.to_vec();
        if let Self::Shuffled { seed, epoch } = self {
            indices.shuffle(&mut generator(seed, Use::Shuffle { epoch }));
        }
        indices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_follows_from_seed_and_epoch() {
        let indices: Vec<u32> = (0..50).collect();
        let shuffled = |seed, epoch| Order::Shuffled { seed, epoch }.apply(&indices);
        assert_eq!(Order::Sequential.apply(&indices), indices);
        assert_eq!(shuffled(1, 1), shuffled(1, 1));
        assert_ne!(shuffled(1, 1), shuffled(1, 2));
        assert_ne!(shuffled(1, 1), shuffled(2, 1));
        let mut sorted = shuffled(1, 1);
        sorted.sort_unstable();
        assert_eq!(sorted, indices);
    }
}
