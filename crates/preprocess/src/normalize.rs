//! Pixel values to the numbers that a model takes, and back.

use kiln_model::Preprocessing;

/// The normalization of one channel: `(p * scale - mean) / std`.
pub(crate) struct Normalize {
    scale: f32,
    mean: f32,
    std: f32,
    /// The results for the pixel values 0 to 255, from the same formula: a look-up instead of a
    /// division per pixel.
    table: [f32; 256],
}

impl Normalize {
    /// One normalization per channel of a record that passed its check.
    pub(crate) fn channels(record: &Preprocessing) -> Vec<Self> {
        record
            .mean
            .iter()
            .zip(&record.std)
            .map(|(&mean, &std)| Self::new(record.scale, mean, std))
            .collect()
    }

    fn new(scale: f32, mean: f32, std: f32) -> Self {
        let mut normalize = Self {
            scale,
            mean,
            std,
            table: [0.0; 256],
        };
        normalize.table = std::array::from_fn(|p| normalize.value(p as f32));
        normalize
    }

    /// A value between pixel values, from resizing.
    pub(crate) fn value(&self, p: f32) -> f32 {
        (p * self.scale - self.mean) / self.std
    }

    /// A pixel value.
    pub(crate) fn byte(&self, p: u8) -> f32 {
        self.table[usize::from(p)]
    }
}

/// The pixels `[height, width, channels]` of images `[channels, height, width]` with values of 0 to
/// 255, for graphs that take 8 bits a sample: rounded to the nearest whole number, halves to the
/// even one as by numpy's `rint`, and kept within 0 to 255.
pub fn to_pixels(values: &[f32], [channels, height, width]: [usize; 3]) -> Vec<u8> {
    if channels == 1 {
        return values.iter().copied().map(byte).collect();
    }
    let plane = height * width;
    let mut pixels = vec![0; values.len()];
    for (image, pixels) in values
        .chunks_exact(channels * plane)
        .zip(pixels.chunks_exact_mut(channels * plane))
    {
        for (channel, values) in image.chunks_exact(plane).enumerate() {
            for (pixel, &value) in pixels.chunks_exact_mut(channels).zip(values) {
                pixel[channel] = byte(value);
            }
        }
    }
    pixels
}

/// Rounds by adding 2^23, from where on f32 has no fractions: the sum's last byte is the result.
/// Without a branch or a call for each value, it takes a twentieth of the time of `f32::round`.
fn byte(value: f32) -> u8 {
    const NO_FRACTIONS: f32 = 8_388_608.0;
    (value.clamp(0.0, 255.0) + NO_FRACTIONS).to_bits() as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn table_and_formula_agree_bit_for_bit() {
        let normalize = Normalize::new(1.0 / 255.0, 0.485, 0.229);
        for p in 0..=255 {
            assert_eq!(
                normalize.byte(p).to_bits(),
                ((f32::from(p) * (1.0 / 255.0) - 0.485) / 0.229).to_bits()
            );
            assert_eq!(
                normalize.byte(p).to_bits(),
                normalize.value(f32::from(p)).to_bits()
            );
        }
    }

    #[test]
    fn values_are_rounded_and_the_channels_of_a_pixel_put_together() {
        // Two images of two channels, one row of two pixels.
        let values = [0.0, 1.4, 2.5, 3.49, 254.6, 300.0, -1.0, 0.499_999_97];
        assert_eq!(to_pixels(&values, [2, 1, 2]), [0, 2, 1, 3, 255, 0, 255, 0]);
        assert_eq!(to_pixels(&values, [1, 2, 2]), [0, 1, 2, 3, 255, 255, 0, 0]);
        assert_eq!(to_pixels(&[], [2, 1, 2]), []);
    }

    proptest! {
        #[test]
        fn rounding_is_that_of_the_standard_library(value in prop_oneof![-1.0_f32..260.0, any::<f32>()]) {
            prop_assert_eq!(byte(value), value.round_ties_even() as u8);
        }
    }
}
