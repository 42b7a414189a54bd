//! Random numbers that are the same everywhere.

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

/// Use of random numbers. Each use has a stream of its own, so that uses that share a seed
/// stay independent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Use {
    /// Choosing samples for a split or a smaller set.
    Selection,
    /// Choosing the classes that give a sample more, where shares are no whole numbers.
    Remainders,
    /// Shuffling the samples of an epoch.
    Shuffle {
        /// The epoch.
        epoch: u64,
    },
    /// Changing an image in an epoch.
    Image {
        /// What is drawn.
        change: Change,
        /// The epoch, below 2⁵⁷.
        epoch: u64,
        /// The image's number in the dataset; of a batch, that of its first image.
        index: u32,
    },
}

/// What is drawn for an image in an epoch. Each has numbers of its own, so that a setting leaves the others'
/// changes as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Changes as in Keras.
    Keras,
    /// Erasing a part.
    Erasing,
    /// Mixing the images of a batch.
    Mixing,
    /// The part that is seen.
    Crop,
    /// Jitter of colors.
    Jitter,
    /// `RandAugment` or `TrivialAugmentWide`.
    Policy,
    /// `AugMix`.
    AugMix,
}

impl Change {
    /// The highest bits of a stream; those of the epoch are below.
    const fn bits(self) -> u64 {
        match self {
            Self::Keras => 1 << 63,
            Self::Erasing => 3 << 62,
            Self::Mixing => 7 << 61,
            Self::Crop => 15 << 60,
            Self::Jitter => 31 << 59,
            Self::Policy => 63 << 58,
            Self::AugMix => 127 << 57,
        }
    }

    /// Numbers of 32 bits that it may take for one image at most.
    const fn per_image(self) -> u128 {
        match self {
            Self::Keras
            | Self::Erasing
            | Self::Mixing
            | Self::Crop
            | Self::Jitter
            | Self::Policy => 64,
            // Ten chains of ten changes, and shares, of which some are tried several times.
            Self::AugMix => 4096,
        }
    }
}

/// Returns a generator whose numbers follow from its arguments alone.
///
/// `ChaCha8` is a fixed function of key and position, computed in integers: the same on every
/// platform.
pub(crate) fn generator(seed: u64, purpose: Use) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(match purpose {
        Use::Selection => u64::MAX,
        Use::Remainders => u64::MAX - 1,
        Use::Shuffle { epoch } => epoch,
        Use::Image { change, epoch, .. } => change.bits() | epoch,
    });
    if let Use::Image { change, index, .. } = purpose {
        rng.set_word_pos(u128::from(index) * change.per_image());
    }
    rng
}

#[cfg(test)]
mod tests {
    use rand::Rng;
    use rand::seq::SliceRandom;

    use super::*;

    #[test]
    fn uses_and_seeds_differ() {
        let first = |seed, purpose| generator(seed, purpose).next_u64();
        let mut numbers = vec![
            first(1, Use::Selection),
            first(2, Use::Selection),
            first(1, Use::Shuffle { epoch: 0 }),
            first(1, Use::Shuffle { epoch: 1 }),
        ];
        for change in [
            Change::Keras,
            Change::Erasing,
            Change::Mixing,
            Change::Crop,
            Change::Jitter,
            Change::Policy,
            Change::AugMix,
        ] {
            for (epoch, index) in [(1, 0), (1, 1), (2, 0)] {
                let purpose = Use::Image {
                    change,
                    epoch,
                    index,
                };
                numbers.push(first(1, purpose));
            }
        }
        for (i, number) in numbers.iter().enumerate() {
            assert!(!numbers[..i].contains(number), "{numbers:?}");
        }
    }

    /// A new version of `rand` that shuffles otherwise would change every training run: this must
    /// be noticed.
    #[test]
    fn shuffling_is_pinned() {
        let mut values: Vec<u32> = (0..10).collect();
        values.shuffle(&mut generator(42, Use::Shuffle { epoch: 3 }));
        assert_eq!(values, [8, 3, 7, 5, 0, 4, 9, 2, 1, 6]);
    }
}
