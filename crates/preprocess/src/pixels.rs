//! Decoded pixels that are kept.

use std::borrow::Cow;

use crate::bits::eight_bit;
use crate::decode::decode_as;
use crate::{PreprocessError, RawImage};

/// The pixels of a decoded image, 8 bits a sample, HWC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    samples: Vec<u8>,
    height: u32,
    width: u32,
    channels: u32,
}

impl Pixels {
    /// Decodes an image in memory, as [`decode`](crate::decode) does; `name` is what messages call
    /// it, such as its path in backquotes.
    pub fn decode(bytes: &[u8], name: &str) -> Result<Self, PreprocessError> {
        let image = decode_as(bytes, name)?;
        let (height, width) = (image.height(), image.width());
        let (samples, channels) = eight_bit(&image)?;
        let samples = match samples {
            Cow::Owned(samples) => samples,
            // Borrowed where they have 8 bits already: then the image's own bytes will do.
            Cow::Borrowed(_) => image.into_bytes(),
        };
        Ok(Self {
            samples,
            height,
            width,
            channels,
        })
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

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{DynamicImage, ImageFormat};

    use super::*;

    fn png(image: &DynamicImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn samples_of_either_width_are_kept_with_eight_bits() {
        let grey = image::ImageBuffer::from_fn(2, 1, |x, _| image::Luma([x as u16 * 0x1234]));
        let pixels = Pixels::decode(&png(&grey.into()), "x").unwrap();
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
        let pixels = Pixels::decode(&png(&rgba.into()), "x").unwrap();
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
        let error = Pixels::decode(b"hello", "`a.png`").unwrap_err().to_string();
        assert!(error.starts_with("`a.png` is not an image"), "{error}");
    }
}
