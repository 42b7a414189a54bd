//! Decoded images to 8 bits a sample.

use std::borrow::Cow;

use image::DynamicImage;

use crate::PreprocessError;

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
    use super::*;

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
