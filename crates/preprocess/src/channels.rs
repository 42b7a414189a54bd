//! The samples of an image that make a model's channels.

use std::borrow::Cow;

use kiln_model::Channels;

use crate::pixels::RawImage;

/// Pixels to read, and where in them each channel is.
pub(crate) struct Source<'a> {
    /// HWC.
    pub(crate) pixels: Cow<'a, [u8]>,
    /// Samples per pixel.
    pub(crate) channels: usize,
    /// Offset in a pixel of the sample for each channel of the model.
    pub(crate) order: [usize; 3],
}

impl<'a> Source<'a> {
    /// The source for a model with these channels. Color is turned into gray here, where the model
    /// takes gray.
    pub(crate) fn new(image: &RawImage<'a>, wanted: Channels) -> Self {
        let channels = image.channels as usize;
        let order = match (wanted, image.is_color()) {
            (Channels::Gray, true) => {
                return Self {
                    pixels: Cow::Owned(luma(image.pixels, channels)),
                    channels: 1,
                    order: [0; 3],
                };
            }
            (Channels::Rgb, true) => [0, 1, 2],
            (Channels::Bgr, true) => [2, 1, 0],
            (_, false) => [0; 3],
        };
        Self {
            pixels: Cow::Borrowed(image.pixels),
            channels,
            order,
        }
    }
}

/// The gray of each pixel of `channels` (3 or 4) samples, red, green and blue first.
///
/// ITU-R 601-2 luma, `0.299 R + 0.587 G + 0.114 B`, in 16-bit fixed point with rounding: the
/// arithmetic of Pillow's `convert("L")` (`L24` in its `Convert.c`), so that the bytes are the
/// same.
pub(crate) fn luma(pixels: &[u8], channels: usize) -> Vec<u8> {
    pixels
        .chunks_exact(channels)
        .map(|p| {
            let [r, g, b] = [p[0], p[1], p[2]].map(u32::from);
            ((r * 19_595 + g * 38_470 + b * 7_471 + 0x8000) >> 16) as u8
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gray_stays_as_it_is() {
        for v in 0..=255 {
            assert_eq!(luma(&[v, v, v], 3), [v]);
        }
    }

    #[test]
    fn alpha_does_not_count() {
        assert_eq!(
            luma(&[10, 20, 30, 0, 10, 20, 30, 255], 4),
            luma(&[10, 20, 30, 10, 20, 30], 3)
        );
    }
}
