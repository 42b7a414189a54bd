//! One batch.

use kiln_preprocess::Preprocessor;

use crate::{DataError, View};

/// Samples that go through a model together.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The tensor's values, in the order of `shape`.
    pub pixels: Vec<f32>,
    /// Samples, channels, height, width.
    pub shape: [usize; 4],
    /// The label of each sample.
    pub labels: Vec<u32>,
    /// Which sample of the data set each is.
    pub indices: Vec<u32>,
}

impl Batch {
    /// The batch of these samples of the view's data set.
    pub(super) fn prepare(view: &View, preprocessor: &Preprocessor, indices: &[u32]) -> Result<Self, DataError> {
        let dataset = view.dataset();
        let [channels, height, width] = preprocessor.shape();
        let mut pixels = zeros(indices.len(), preprocessor.len())?;
        for (&index, values) in indices.iter().zip(pixels.chunks_exact_mut(preprocessor.len())) {
            preprocessor.raw(dataset.image(index as usize), values).map_err(|reason| DataError::Image {
                name: dataset.name().to_owned(),
                index,
                reason,
            })?;
        }
        Ok(Self {
            pixels,
            shape: [indices.len(), channels, height, width],
            labels: indices.iter().map(|&index| dataset.labels()[index as usize]).collect(),
            indices: indices.to_vec(),
        })
    }
}

/// Room for a batch. Its size comes from a recipe, so too large a size must not end the program.
fn zeros(images: usize, values: usize) -> Result<Vec<f32>, DataError> {
    let mut pixels = Vec::new();
    let length = images.checked_mul(values).ok_or(DataError::Memory { images, values })?;
    pixels.try_reserve_exact(length).map_err(|_| DataError::Memory { images, values })?;
    pixels.resize(length, 0.0);
    Ok(pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_beyond_memory_are_an_error() {
        for (images, values) in [(usize::MAX, 2), (usize::MAX / 4, 1)] {
            assert!(matches!(zeros(images, values), Err(DataError::Memory { .. })));
        }
    }
}
