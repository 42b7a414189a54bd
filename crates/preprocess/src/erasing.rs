//! A rectangle of a normalized image that is overwritten.

use std::f64::consts::TAU;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// A rectangle and what is put in its place, as by `torchvision.transforms.functional.erase`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Erasing {
    /// Its first row and column.
    pub from: [usize; 2],
    /// Its height and width in pixels; what is beyond the image's edges is left out.
    pub size: [usize; 2],
    /// What it is filled with.
    pub filling: Filling,
}

/// What a rectangle is filled with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Filling {
    /// This number in every channel.
    Constant(f32),
    /// Numbers of the standard normal distribution, which follow from this seed.
    Noise(u64),
}

impl Erasing {
    /// Overwrites the rectangle in planes of `height` by `width` values, one plane a channel.
    pub(crate) fn apply(&self, image: &mut [f32], [height, width]: [usize; 2]) {
        let span = |axis: usize, side: usize| {
            let from = self.from[axis].min(side);
            from..from.saturating_add(self.size[axis]).min(side)
        };
        let (rows, columns) = (span(0, height), span(1, width));
        let erased = image.chunks_exact_mut(height * width).flat_map(|plane| {
            let rows = plane
                .chunks_exact_mut(width)
                .take(rows.end)
                .skip(rows.start);
            rows.flat_map(|row| &mut row[columns.clone()])
        });
        match self.filling {
            Filling::Constant(value) => erased.for_each(|it| *it = value),
            Filling::Noise(seed) => {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                erased.for_each(|it| *it = normal(&mut rng));
            }
        }
    }
}

/// A number of the standard normal distribution, by the transform of Box and Muller (1958).
fn normal(rng: &mut ChaCha8Rng) -> f32 {
    // From 1 down to above 0, which has a logarithm.
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    (radius * (TAU * rng.random::<f64>()).cos()) as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn noise_has_the_mean_0_and_the_variance_1() {
        let mut image = vec![0.0; 3 * 100 * 100];
        let erasing = Erasing {
            from: [0, 0],
            size: [100, 100],
            filling: Filling::Noise(7),
        };
        erasing.apply(&mut image, [100, 100]);
        let count = image.len() as f32;
        let mean = image.iter().sum::<f32>() / count;
        let variance = image.iter().map(|v| v * v).sum::<f32>() / count;
        // Five standard deviations: of the mean 1 / sqrt(n), of the variance sqrt(2 / n).
        assert!(
            mean.abs() < 0.029 && (variance - 1.0).abs() < 0.041,
            "{mean} {variance}"
        );
        let mut again = vec![0.0; image.len()];
        erasing.apply(&mut again, [100, 100]);
        assert_eq!(image, again);
    }

    proptest! {
        #[test]
        fn the_rectangle_is_overwritten_and_nothing_else(
            from in [0..9usize, 0..9usize], size in [0..9usize, 0..9usize], height in 1..9usize, width in 1..9usize,
        ) {
            let mut image = vec![1.0; 2 * height * width];
            Erasing { from, size, filling: Filling::Constant(5.0) }.apply(&mut image, [height, width]);
            for (i, value) in image.iter().enumerate() {
                let at = [i / width % height, i % width];
                let inside = (0..2).all(|axis| (from[axis]..from[axis] + size[axis]).contains(&at[axis]));
                let expected: f32 = if inside { 5.0 } else { 1.0 };
                prop_assert_eq!(value.to_bits(), expected.to_bits(), "{:?}", at);
            }
        }
    }
}
