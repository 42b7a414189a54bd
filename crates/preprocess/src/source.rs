//! Which samples of an image make a model's channels.

use std::borrow::Cow;

use kiln_model::Channels;

use crate::RawImage;
use crate::luma::luma;

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
    /// The source for a model with these channels. Colour is turned into grey here, where the model
    /// takes grey.
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
