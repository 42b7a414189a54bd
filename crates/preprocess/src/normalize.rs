//! Pixel values to the numbers that a model takes.

use kiln_model::Preprocessing;

/// The normalisation of one channel: `(p * scale - mean) / std`.
pub(crate) struct Normalize {
    scale: f32,
    mean: f32,
    std: f32,
    /// The results for the pixel values 0 to 255, from the same formula: a look-up instead of a
    /// division per pixel.
    table: [f32; 256],
}

impl Normalize {
    /// One normalisation per channel of a record that passed its check.
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

#[cfg(test)]
mod tests {
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
}
