//! Images divided by a power of two, by which much larger ones are brought near the size that they are
//! resized to: `reducing_gap` of the record.

use kiln_model::{Fit, Resize};

use crate::orientation::Orientation;
use crate::pixels::{Pixels, RawImage};

/// By what an image of this height and width is divided before it is resized to `size`: the largest power of
/// two by which as many times the size remain as the record's gap says. Of a size that limits the longer
/// side, one side suffices.
///
/// Divided in two steps an image gets as small as in one, so that a decoder may do a part.
pub(crate) fn divisor(image: [u32; 2], size: [u32; 2], resize: &Resize) -> u32 {
    let gap = u64::from(resize.reducing_gap);
    let is_enough = |by: u32| {
        let mut sides = image.iter().zip(size);
        let remains = |(side, to): (&u32, u32)| u64::from(side.div_ceil(by)) >= gap * u64::from(to);
        match resize.fit {
            Fit::Longer => sides.any(remains),
            Fit::Stretch | Fit::Shorter | Fit::CropToAspectRatio => sides.all(remains),
        }
    };
    let [height, width] = image;
    let mut by = 1;
    while gap > 0 && by < height.max(width) && is_enough(2 * by) {
        by *= 2;
    }
    by
}

/// By what a decoder of JPEG divides an image that is divided by so much: half of that, because most files have half as
/// many samples of color as of brightness, and these are then as many as are wanted. At most 8, where a block of 8 times 8
/// samples is their mean, and not by 2: that takes as long as decoding all by the decoder for whole images.
pub(crate) fn jpeg_divisor(by: u32) -> u32 {
    match by / 2 {
        0..=2 => 1,
        half => half.min(8),
    }
}

/// The means of squares of `by` times `by` samples, rounded, at the right and lower edge of what is left of
/// them: Pillow's `Image.reduce`.
pub(crate) fn reduce(image: &RawImage<'_>, by: u32) -> Pixels {
    let shape = [image.height, image.width].map(|side| side.div_ceil(by));
    let (channels, side) = (image.channels as usize, by as usize);
    let row_length = image.width as usize * channels;
    let mut samples = Vec::with_capacity(shape[0] as usize * shape[1] as usize * channels);
    let mut columns = vec![0_u32; row_length];
    for rows in image.pixels.chunks(row_length * side) {
        columns.fill(0);
        for row in rows.chunks_exact(row_length) {
            for (sum, sample) in columns.iter_mut().zip(row) {
                *sum += u32::from(*sample);
            }
        }
        for square in columns.chunks(channels * side) {
            let count = (rows.len() / row_length * (square.len() / channels)) as u64;
            samples.extend((0..channels).map(|channel| {
                let sums = square[channel..].iter().step_by(channels);
                let sum = sums.map(|sum| u64::from(*sum)).sum::<u64>() + count / 2;
                // Most squares are whole; dividing by any number takes ten times as long.
                let mean = if count.is_power_of_two() {
                    sum >> count.trailing_zeros()
                } else {
                    sum / count
                };
                mean as u8
            }));
        }
    }
    Pixels::new(samples, shape, image.channels, Orientation::Upright)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resize(fit: Fit, reducing_gap: u32) -> Resize {
        Resize {
            fit,
            reducing_gap,
            ..Resize::default()
        }
    }

    #[test]
    fn as_many_times_the_size_remain_as_the_gap_says() {
        for (image, size, fit, gap, expected) in [
            ([3000, 4000], [256, 256], Fit::Shorter, 0, 1),
            ([3000, 4000], [256, 256], Fit::Shorter, 1, 8),
            ([3000, 4000], [256, 256], Fit::Shorter, 2, 4),
            ([3000, 4000], [256, 256], Fit::Shorter, 3, 2),
            ([3000, 4000], [256, 256], Fit::Longer, 1, 8),
            ([1000, 4000], [256, 256], Fit::Longer, 1, 8),
            ([1000, 4000], [256, 256], Fit::Stretch, 1, 2),
            ([512, 512], [256, 256], Fit::Stretch, 1, 2),
            // Rounded up, 256 remain.
            ([511, 511], [256, 256], Fit::Stretch, 1, 2),
            ([510, 510], [256, 256], Fit::Stretch, 1, 1),
            ([7, 5], [1, 1], Fit::Stretch, 1, 8),
            ([1, 1], [1, 1], Fit::Stretch, 1, 1),
        ] {
            let found = divisor(image, size, &resize(fit, gap));
            assert_eq!(found, expected, "{image:?} to {size:?}, {fit}, gap {gap}");
        }
    }

    #[test]
    fn squares_become_their_means_and_edges_those_of_what_is_left() {
        let pixels: Vec<u8> = (0..15).collect();
        let image = RawImage {
            pixels: &pixels,
            height: 3,
            width: 5,
            channels: 1,
        };
        let reduced = reduce(&image, 2);
        let found = reduced.as_raw();
        assert_eq!((found.height, found.width), (2, 3));
        // (0 + 1 + 5 + 6) / 4 and (4 + 9) / 2, each rounded up from a half or more.
        assert_eq!(found.pixels, [3, 5, 7, 11, 13, 14]);
    }

    proptest! {
        #[test]
        fn two_steps_divide_as_far_as_one(
            image in [1..40_000_u32, 1..40_000_u32], size in [1..300_u32, 1..300_u32], gap in 1..4_u32,
            fit in prop::sample::select(Fit::ALL.to_vec()), first in 0..4_u32,
        ) {
            let resize = resize(fit, gap);
            let by = divisor(image, size, &resize);
            let first = by.min(1 << first);
            let between = image.map(|side| side.div_ceil(first));
            prop_assert_eq!(divisor(between, size, &resize), by / first);
        }
    }
}
