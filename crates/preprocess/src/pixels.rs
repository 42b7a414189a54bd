//! Decoded pixels of 8 bits a sample.

use std::borrow::Cow;

use image::DynamicImage;

use crate::decode::{Decoded, decode_as};
use crate::error::{MAX_SIDE, PreprocessError};
use crate::orientation::Orientation;
use crate::preprocessor::Preprocessor;

/// Decoded pixels of 8 bits in HWC order: rows from the top, pixels from the left, the channels of
/// a pixel together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawImage<'a> {
    /// `height * width * channels` bytes.
    pub pixels: &'a [u8],
    /// Height in pixels, 1 to [`RawImage::MAX_SIDE`].
    pub height: u32,
    /// Width in pixels, 1 to [`RawImage::MAX_SIDE`].
    pub width: u32,
    /// 1 (gray), 2 (gray, alpha), 3 (red, green, blue) or 4 (red, green, blue, alpha). Alpha is
    /// ignored, unless the record has a background.
    pub channels: u32,
}

impl RawImage<'_> {
    /// Longest side in pixels of an image to read.
    pub const MAX_SIDE: u32 = MAX_SIDE;

    /// Copies a part, given by its first pixel and its length along the height and the width.
    pub(crate) fn part(&self, [top, rows]: [usize; 2], [left, columns]: [usize; 2]) -> Pixels {
        let channels = self.channels as usize;
        let row_length = self.width as usize * channels;
        let rows_of_pixels = self.pixels.chunks_exact(row_length).skip(top).take(rows);
        let samples = rows_of_pixels
            .flat_map(|row| &row[left * channels..(left + columns) * channels])
            .copied();
        let size = [rows as u32, columns as u32];
        Pixels::new(samples.collect(), size, self.channels, Orientation::Upright)
    }

    /// Checks that the parts fit together.
    pub(crate) fn check(&self) -> Result<(), PreprocessError> {
        let Self {
            pixels,
            height,
            width,
            channels,
        } = *self;
        let side = 1..=Self::MAX_SIDE;
        if !side.contains(&height) || !side.contains(&width) {
            return Err(PreprocessError::Size { height, width });
        }
        if !(1..=4).contains(&channels) {
            return Err(PreprocessError::Channels { found: channels });
        }
        let expected = u64::from(height) * u64::from(width) * u64::from(channels);
        if pixels.len() as u64 != expected {
            return Err(PreprocessError::PixelCount {
                height,
                width,
                channels,
                expected,
                found: pixels.len(),
            });
        }
        Ok(())
    }

    /// Whether pixels say how opaque they are.
    pub(crate) fn has_alpha(&self) -> bool {
        matches!(self.channels, 2 | 4)
    }

    /// Whether pixels have three colors rather than one gray.
    pub(crate) fn is_color(&self) -> bool {
        self.channels >= 3
    }
}

/// The pixels of a decoded image, 8 bits a sample, HWC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    samples: Vec<u8>,
    height: u32,
    width: u32,
    channels: u32,
    orientation: Orientation,
}

impl Pixels {
    /// Samples of an image of this height and width.
    pub(crate) fn new(
        samples: Vec<u8>,
        [height, width]: [u32; 2],
        channels: u32,
        orientation: Orientation,
    ) -> Self {
        Self {
            samples,
            height,
            width,
            channels,
            orientation,
        }
    }

    /// Decodes an image in memory, as [`decode`](crate::decode) does, or [`Preprocessor::decode`] of the one
    /// that is given; `name` is what messages call it, such as its path in backquotes. The pixels are not
    /// turned.
    pub fn decode(
        bytes: &[u8],
        name: &str,
        wanted: Option<&Preprocessor>,
    ) -> Result<Self, PreprocessError> {
        Self::of(decode_as(bytes, name, wanted)?)
    }

    /// Takes the pixels of a decoded file.
    pub(crate) fn of(decoded: Decoded) -> Result<Self, PreprocessError> {
        let Decoded { image, orientation } = decoded;
        let (height, width) = (image.height(), image.width());
        let (samples, channels) = eight_bit(&image)?;
        let samples = match samples {
            Cow::Owned(samples) => samples,
            // Borrowed where they have 8 bits already: then the image's own bytes will do.
            Cow::Borrowed(_) => image.into_bytes(),
        };
        Ok(Self::new(samples, [height, width], channels, orientation))
    }

    /// Returns how the picture is stored: what the file's metadata say.
    pub fn orientation(&self) -> Orientation {
        self.orientation
    }

    /// The same pixels of a picture that is stored in this orientation.
    pub(crate) fn stored_in(self, orientation: Orientation) -> Self {
        Self {
            orientation,
            ..self
        }
    }

    /// Returns the picture turned upright.
    #[must_use]
    pub fn upright(self) -> Self {
        let orientation = self.orientation;
        let size = [self.height, self.width];
        let samples = orientation.turn(self.samples, size, self.channels);
        let size = orientation.upright_size(size);
        Self::new(samples, size, self.channels, Orientation::Upright)
    }

    /// The same pixels, borrowed.
    pub fn as_raw(&self) -> RawImage<'_> {
        RawImage {
            pixels: &self.samples,
            height: self.height,
            width: self.width,
            channels: self.channels,
        }
    }
}

/// The samples of `image` in HWC order, and the number of channels; borrowed where they have 8 bits
/// already.
///
/// Of a 16-bit sample the high byte is taken.
pub(crate) fn eight_bit(image: &DynamicImage) -> Result<(Cow<'_, [u8]>, u32), PreprocessError> {
    let samples = match image {
        DynamicImage::ImageLuma8(i) => Cow::Borrowed(i.as_raw().as_slice()),
        DynamicImage::ImageLumaA8(i) => Cow::Borrowed(i.as_raw().as_slice()),
        DynamicImage::ImageRgb8(i) => Cow::Borrowed(i.as_raw().as_slice()),
        DynamicImage::ImageRgba8(i) => Cow::Borrowed(i.as_raw().as_slice()),
        DynamicImage::ImageLuma16(i) => Cow::Owned(high_bytes(i.as_raw())),
        DynamicImage::ImageLumaA16(i) => Cow::Owned(high_bytes(i.as_raw())),
        DynamicImage::ImageRgb16(i) => Cow::Owned(high_bytes(i.as_raw())),
        DynamicImage::ImageRgba16(i) => Cow::Owned(high_bytes(i.as_raw())),
        other => {
            return Err(PreprocessError::PixelType {
                found: format!("{:?}", other.color()),
            });
        }
    };
    Ok((samples, u32::from(image.color().channel_count())))
}

fn high_bytes(samples: &[u16]) -> Vec<u8> {
    samples.iter().map(|s| (s >> 8) as u8).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{DynamicImage, ImageFormat};

    use super::*;

    fn check(length: usize, height: u32, width: u32, channels: u32) -> String {
        let pixels = vec![0; length];
        RawImage {
            pixels: &pixels,
            height,
            width,
            channels,
        }
        .check()
        .map_or_else(|e| e.to_string(), |()| String::new())
    }

    #[test]
    fn sizes_that_fit_pass() {
        for channels in 1..=4 {
            assert_eq!(check(6 * channels as usize, 2, 3, channels), "");
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_named() {
        assert!(check(5, 2, 3, 1).contains("has 5 bytes: expected 6"));
        assert!(check(0, 0, 3, 1).contains("0x3"));
        assert!(check(30, 2, 3, 5).contains("5 channels"));
        assert!(check(0, 2, 3, 0).contains("0 channels"));
        assert!(check(4, u32::MAX, u32::MAX, 4).contains("1 to 32768"));
        assert!(check(4, 32_768, 32_768, 4).contains("expected 4294967296"));
    }

    fn png(image: &DynamicImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn samples_of_either_width_are_kept_with_eight_bits() {
        let gray = image::ImageBuffer::from_fn(2, 1, |x, _| image::Luma([x as u16 * 0x1234]));
        let pixels = Pixels::decode(&png(&gray.into()), "x", None).unwrap();
        assert_eq!(
            pixels.as_raw(),
            RawImage {
                pixels: &[0, 0x12],
                height: 1,
                width: 2,
                channels: 1
            }
        );
        let rgba = image::RgbaImage::from_raw(1, 1, vec![1, 2, 3, 4]).unwrap();
        let pixels = Pixels::decode(&png(&rgba.into()), "x", None).unwrap();
        assert_eq!(
            pixels.as_raw(),
            RawImage {
                pixels: &[1, 2, 3, 4],
                height: 1,
                width: 1,
                channels: 4
            }
        );
    }

    #[test]
    fn messages_use_the_name() {
        let error = Pixels::decode(b"hello", "`a.png`", None)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("`a.png` is not an image"), "{error}");
    }

    #[test]
    fn bytes_are_borrowed() {
        for image in [
            DynamicImage::new_luma8(3, 2),
            DynamicImage::new_luma_a8(3, 2),
            DynamicImage::new_rgb8(3, 2),
            DynamicImage::new_rgba8(3, 2),
        ] {
            let (samples, channels) = eight_bit(&image).unwrap();
            assert!(matches!(samples, Cow::Borrowed(_)));
            assert_eq!(samples.len(), 6 * channels as usize);
        }
    }

    #[test]
    fn every_widened_byte_comes_back() {
        let widened: Vec<u16> = (0..=255).map(|b| b * 257).collect();
        assert_eq!(high_bytes(&widened), (0..=255).collect::<Vec<u8>>());
    }

    #[test]
    fn floats_are_refused() {
        let error = eight_bit(&DynamicImage::new_rgb32f(1, 1)).unwrap_err();
        assert!(error.to_string().contains("found Rgb32F"), "{error}");
    }
}
