//! An image of a data set.

use kiln_preprocess::{Pixels, RawImage};

/// The pixels of an image: those that the data set has in memory, or decoded for this use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image<'a> {
    /// In memory.
    Borrowed(RawImage<'a>),
    /// Decoded just now.
    Owned(Pixels),
}

impl Image<'_> {
    /// The pixels.
    pub fn as_raw(&self) -> RawImage<'_> {
        match self {
            Self::Borrowed(image) => *image,
            Self::Owned(pixels) => pixels.as_raw(),
        }
    }
}
