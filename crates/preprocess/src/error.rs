//! What can be wrong with an image, and what can be done about it.

use std::fmt;
use std::io;

/// Longest side in pixels of an image to read: more than cameras make, and few enough that
/// positions within a side are exact to 1/256 pixel in f32.
pub(crate) const MAX_SIDE: u32 = 32_768;

/// Maximum memory that a decoder may use: a photograph of 170 megapixels fits, a file that unpacks
/// to gigabytes does not.
pub(crate) const MAX_DECODED_BYTES: u64 = 512 << 20;

/// An image that cannot be turned into a model's input.
///
/// The field `image` says what to call the image: its path in backquotes, or "the data" for bytes
/// in memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PreprocessError {
    /// The file cannot be read.
    #[error("cannot read {image}: {reason}")]
    Read {
        /// The image's name.
        image: String,
        /// The system's error. Its text is part of this error's, so it is not the `source` too.
        reason: io::Error,
    },
    /// The content is of no format that is supported.
    #[error(
        "{image} is not an image kiln can read (PNG, JPEG, BMP, WebP, TIFF, GIF): found {found}"
    )]
    Format {
        /// The image's name.
        image: String,
        /// The media type, or that there is none known.
        found: String,
    },
    /// The content is an image of a kind that is not decoded, though others of its format are.
    #[error("{image} is {kind}, a kind that kiln cannot read")]
    Kind {
        /// The image's name.
        image: String,
        /// What it is, with its article: "a JPEG of 12-bit samples".
        kind: String,
    },
    /// The content starts like an image but cannot be decoded.
    #[error("{image} cannot be decoded: {}", one_line(reason))]
    Damaged {
        /// The image's name.
        image: String,
        /// What the decoder says.
        reason: String,
    },
    /// The image would take too much memory.
    #[error(
        "{image} is too large: expected at most {} pixels a side and {} MiB decoded",
        MAX_SIDE,
        MAX_DECODED_BYTES >> 20
    )]
    TooLarge {
        /// The image's name.
        image: String,
    },
    /// Floating-point pixels, whose range no format fixes.
    #[error("expected pixels of 8 or 16 bits, found {found}")]
    PixelType {
        /// The pixel type found.
        found: String,
    },
    /// A raw image without pixels, or with a side beyond [`RawImage::MAX_SIDE`](crate::RawImage::MAX_SIDE).
    #[error(
        "raw image is {height}x{width}: expected each side to be 1 to {}",
        MAX_SIDE
    )]
    Size {
        /// Height found.
        height: u32,
        /// Width found.
        width: u32,
    },
    /// A raw image whose number of channels has no meaning.
    #[error(
        "raw image has {found} channels: expected 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha)"
    )]
    Channels {
        /// Number found.
        found: u32,
    },
    /// A raw image with more or fewer bytes than its size says.
    #[error("raw image of {height}x{width}x{channels} has {found} bytes: expected {expected}")]
    PixelCount {
        /// Height of the image.
        height: u32,
        /// Width of the image.
        width: u32,
        /// Channels of the image.
        channels: u32,
        /// Number of bytes that this size has.
        expected: u64,
        /// Number of bytes found.
        found: usize,
    },
    /// The output has another length than the tensor of one image.
    #[error("output has room for {found} values: expected {expected}")]
    Output {
        /// Number of values of one image.
        expected: usize,
        /// Length of the output.
        found: usize,
    },
}

impl PreprocessError {
    /// Returns what can be done about it.
    pub const fn hint(&self) -> Hint {
        match self {
            Self::Read { .. } => Hint::CheckPath,
            Self::Format { .. } => Hint::ConvertFormat,
            Self::Kind { .. } => Hint::ConvertKind,
            Self::Damaged { .. } => Hint::SaveAgain,
            Self::TooLarge { .. } | Self::Size { .. } => Hint::Resize,
            Self::PixelType { .. } => Hint::ConvertToEightBits,
            Self::Channels { .. } => Hint::ConvertChannels,
            Self::PixelCount { .. } => Hint::CheckSize,
            Self::Output { .. } => Hint::SizeOutput,
        }
    }
}

impl PreprocessError {
    /// Returns the error of an image that a list has in a line, from 1: it then says which.
    #[must_use]
    pub fn listed(mut self, list: &str, line: u64) -> Self {
        match &mut self {
            Self::Read { image, .. }
            | Self::Format { image, .. }
            | Self::Kind { image, .. }
            | Self::Damaged { image, .. }
            | Self::TooLarge { image } => *image = format!("{image} ({list}:{line})"),
            Self::PixelType { .. }
            | Self::Size { .. }
            | Self::Channels { .. }
            | Self::PixelCount { .. }
            | Self::Output { .. } => {}
        }
        self
    }
}

/// Returns a decoder's message without line breaks.
fn one_line(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// What can be done about an error. Its text names neither commands nor options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// Check the path and its permissions.
    CheckPath,
    /// Convert the image to a format that is supported.
    ConvertFormat,
    /// Save the image as gray or RGB of 8 bits a channel; values without a fixed range have to be
    /// scaled to 0 to 255 first.
    ConvertKind,
    /// Save the image again.
    SaveAgain,
    /// Resize the image.
    Resize,
    /// Convert the image to 8 bits a channel.
    ConvertToEightBits,
    /// Convert the image to gray or RGB.
    ConvertChannels,
    /// Check the size, and that each sample is one byte.
    CheckSize,
    /// Size the output by [`Preprocessor::len`](crate::Preprocessor::len).
    SizeOutput,
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CheckPath => "check the path and its permissions",
            Self::ConvertFormat => "convert the image to PNG, JPEG, BMP, WebP, TIFF or GIF",
            Self::ConvertKind => {
                "save the image as 8-bit gray or RGB, such as PNG; samples of floating-point or 32-bit numbers have to \
                 be scaled to 0 to 255 first, by the range that they have"
            }
            Self::SaveAgain => {
                "the file may be damaged, truncated or of a rare kind: save it again"
            }
            Self::Resize => "resize or drop the image",
            Self::ConvertToEightBits => "convert the image to 8 bits a channel",
            Self::ConvertChannels => "convert the image to gray or RGB",
            Self::CheckSize => "check the size, and that each sample is one byte",
            Self::SizeOutput => "give the output as many values as the preprocessor returns",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line() {
        let error = PreprocessError::Damaged {
            image: "`a.jpg`".into(),
            reason: "bad\n  marker 153\n".into(),
        };
        assert!(
            error
                .to_string()
                .starts_with("`a.jpg` cannot be decoded: bad marker 153"),
            "{error}"
        );
    }
}
