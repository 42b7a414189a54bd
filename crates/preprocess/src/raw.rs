//! Pixels without a file format.

use crate::PreprocessError;

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
    /// 1 (grey), 2 (grey, alpha), 3 (red, green, blue) or 4 (red, green, blue, alpha). Alpha is
    /// ignored.
    pub channels: u32,
}

impl RawImage<'_> {
    /// Longest side in pixels of an image to read: more than cameras make, and few enough that
    /// positions within a side are exact to 1/256 pixel in f32.
    pub const MAX_SIDE: u32 = 32_768;

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

    /// Whether pixels have three colours rather than one grey.
    pub(crate) fn is_color(&self) -> bool {
        self.channels >= 3
    }
}

#[cfg(test)]
mod tests {
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
}
