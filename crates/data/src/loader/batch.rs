//! One batch.

use super::Order;
use crate::{DataError, Samples};

/// Samples that go through a model together.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The tensor's values, in the order of `shape`.
    pub values: Vec<f32>,
    /// Samples, channels, height, width; features are all channels.
    pub shape: [usize; 4],
    /// The label of each sample.
    pub labels: Vec<u32>,
    /// Which sample of the data set each is.
    pub indices: Vec<u32>,
}

impl Batch {
    /// The batch of the samples with these numbers in the data set; the order says only whether
    /// they are for training.
    pub(super) fn prepare(
        samples: &Samples,
        indices: &[u32],
        order: Order,
    ) -> Result<Self, DataError> {
        let shuffled = match order {
            Order::Sequential => None,
            Order::Shuffled { seed, epoch } => Some((seed, epoch)),
        };
        let labels = samples.view().dataset().labels();
        let [channels, height, width] = samples.shape();
        let size = channels * height * width;
        let mut values = zeros(indices.len(), size)?;
        for (&index, values) in indices.iter().zip(values.chunks_exact_mut(size)) {
            samples.prepare(index, shuffled, values)?;
        }
        Ok(Self {
            values,
            shape: [indices.len(), channels, height, width],
            labels: indices
                .iter()
                .map(|&index| labels[index as usize])
                .collect(),
            indices: indices.to_vec(),
        })
    }
}

/// Room for a batch. Its size comes from a recipe, so too large a size must not end the program.
fn zeros(images: usize, values: usize) -> Result<Vec<f32>, DataError> {
    let mut pixels = Vec::new();
    let length = images
        .checked_mul(values)
        .ok_or(DataError::Memory { images, values })?;
    pixels
        .try_reserve_exact(length)
        .map_err(|_| DataError::Memory { images, values })?;
    pixels.resize(length, 0.0);
    Ok(pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_beyond_memory_are_an_error() {
        for (images, values) in [(usize::MAX, 2), (usize::MAX / 4, 1)] {
            assert!(matches!(
                zeros(images, values),
                Err(DataError::Memory { .. })
            ));
        }
    }
}
