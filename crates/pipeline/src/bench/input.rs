//! What the models are run on.

use kiln_inference::{Model, RawImage};
use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

use crate::error::Result;
use crate::error::models::BenchError;

/// The seed of the random pixels, which are the same in every run.
pub const SEED: u64 = 0;

/// Most bytes of a batch.
const MAX_BYTES: usize = 1 << 30;

/// A prepared batch.
pub(super) struct Input {
    /// `[images, channels, height, width]`.
    pub values: Vec<f32>,
    pub images: usize,
}

impl Input {
    /// Makes images of random pixels, prepared as the model prepares images: values are in the
    /// range that it was made for.
    pub fn random(model: &Model, images: usize) -> Result<Self> {
        let preprocessor = model.preprocessor();
        let [channels, height, width] = preprocessor.shape();
        let size = preprocessor.len();
        let total = size.saturating_mul(images);
        if total.saturating_mul(size_of::<f32>()) > MAX_BYTES {
            return Err(BenchError::TooLarge {
                images,
                shape: preprocessor.shape(),
                limit: MAX_BYTES,
            }
            .into());
        }
        let channels = if channels == 1 { 1 } else { 3 };
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let mut pixels = vec![0; channels * height * width];
        let mut values = vec![0.0; total];
        for out in values.chunks_exact_mut(size) {
            random.fill_bytes(&mut pixels);
            let image = RawImage {
                pixels: &pixels,
                height: height as u32,
                width: width as u32,
                channels: channels as u32,
            };
            preprocessor.raw(image, out)?;
        }
        Ok(Self { values, images })
    }
}
