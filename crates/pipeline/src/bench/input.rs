//! What the models are run on.

use anyhow::bail;
use kiln_inference::{Model, RawImage};
use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

use crate::terminal::bytes;

/// The pixels are the same in every run.
pub const SEED: u64 = 0;

/// Most bytes of a batch.
const MOST: usize = 1 << 30;

/// A prepared batch.
pub(super) struct Input {
    /// `[images, channels, height, width]`.
    pub values: Vec<f32>,
    pub images: usize,
}

impl Input {
    /// Images of random pixels, prepared as the model prepares images: values are in the range that
    /// it was made for.
    pub fn random(model: &Model, images: usize) -> anyhow::Result<Self> {
        let preprocessor = model.preprocessor();
        let size = preprocessor.len();
        let total = size.saturating_mul(images);
        if total.saturating_mul(size_of::<f32>()) > MOST {
            bail!(
                "a batch of {images} images of {:?} takes more than {}: use smaller batch sizes",
                preprocessor.shape(),
                bytes(MOST as u64)
            );
        }
        let [channels, height, width] = preprocessor.shape();
        let channels = if channels == 1 { 1 } else { 3 };
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let mut pixels = vec![0; channels * height * width];
        let mut values = vec![0.0; total];
        for out in values.chunks_exact_mut(size) {
            random.fill_bytes(&mut pixels);
            let (height, width, channels) = (height as u32, width as u32, channels as u32);
            preprocessor.raw(
                RawImage {
                    pixels: &pixels,
                    height,
                    width,
                    channels,
                },
                out,
            )?;
        }
        Ok(Self { values, images })
    }
}
