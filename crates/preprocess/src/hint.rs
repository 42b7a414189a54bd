//! What can be done about an error.

use std::fmt;

/// What can be done about an error. Its text names neither commands nor options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// Check the path and its permissions.
    CheckPath,
    /// Convert the image to a format that is supported.
    ConvertFormat,
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
            Self::ConvertFormat => "convert the image to PNG, JPEG, BMP, WebP or TIFF",
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
