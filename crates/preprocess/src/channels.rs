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
    /// takes gray; transparent pixels are put on the background, where there is one.
    pub(crate) fn new(image: &RawImage<'a>, wanted: Channels, background: Option<[u8; 3]>) -> Self {
        let Some(background) = background.filter(|_| image.has_alpha()) else {
            return Self::opaque(Cow::Borrowed(image.pixels), image.channels as usize, wanted);
        };
        Self::opaque(Cow::Owned(blend(image, background)), 3, wanted)
    }

    fn opaque(pixels: Cow<'a, [u8]>, channels: usize, wanted: Channels) -> Self {
        let order = match (wanted, channels >= 3) {
            (Channels::Gray, true) => {
                return Self {
                    pixels: Cow::Owned(luma(&pixels, channels)),
                    channels: 1,
                    order: [0; 3],
                };
            }
            (Channels::Rgb, true) => [0, 1, 2],
            (Channels::Bgr, true) => [2, 1, 0],
            (_, false) => [0; 3],
        };
        Self {
            pixels,
            channels,
            order,
        }
    }
}

/// The pixels of an image with alpha, which comes last in each, on a background: red, green and
/// blue. The arithmetic of Pillow's `Image.paste` with the image as its own mask (`BLEND` in
/// `ImagingUtils.h`), so that the bytes are the same.
pub(crate) fn blend(image: &RawImage<'_>, background: [u8; 3]) -> Vec<u8> {
    let channels = image.channels as usize;
    let step = usize::from(image.is_color());
    let pixel = |p: &[u8]| {
        let alpha = u32::from(p[channels - 1]);
        let color = [p[0], p[step], p[2 * step]];
        let mixed = |(c, b): (u8, u8)| {
            let sum = u32::from(b) * (255 - alpha) + u32::from(c) * alpha + 128;
            ((sum + (sum >> 8)) >> 8) as u8
        };
        let [r, g, b] = color;
        let [on_r, on_g, on_b] = background;
        [(r, on_r), (g, on_g), (b, on_b)].map(mixed)
    };
    image
        .pixels
        .chunks_exact(channels)
        .flat_map(pixel)
        .collect()
}

/// The samples of a color, red, green and blue, for each channel of a model.
pub(crate) fn samples(color: [u8; 3], wanted: Channels) -> [u8; 3] {
    let [red, green, blue] = color;
    match wanted {
        Channels::Gray => [luma(&color, 3)[0]; 3],
        Channels::Rgb => color,
        Channels::Bgr => [blue, green, red],
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
    fn transparent_pixels_show_the_background() {
        let gray = RawImage {
            pixels: &[10, 0, 10, 255, 10, 128],
            height: 1,
            width: 3,
            channels: 2,
        };
        let on = |wanted, background| Source::new(&gray, wanted, background).pixels.into_owned();
        assert_eq!(
            on(Channels::Rgb, Some([255, 0, 100])),
            [255, 0, 100, 10, 10, 10, 132, 5, 55]
        );
        assert_eq!(on(Channels::Gray, Some([200; 3])), [200, 10, 105]);
        assert_eq!(on(Channels::Rgb, None), gray.pixels);
    }

    #[test]
    fn a_color_follows_the_channels() {
        let color = [1, 2, 200];
        assert_eq!(samples(color, Channels::Rgb), color);
        assert_eq!(samples(color, Channels::Bgr), [200, 2, 1]);
        assert_eq!(samples(color, Channels::Gray), [luma(&color, 3)[0]; 3]);
    }

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
