//! Images that a program has in memory.

use std::sync::Arc;

use kiln_inference::image::DynamicImage;

use super::input::{Image, Inputs};
use super::source::Source;

/// An image in memory.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum MemoryImage {
    /// The bytes of a file, of any format that can be decoded.
    Encoded(Arc<[u8]>),
    /// Pixels.
    Decoded(Arc<DynamicImage>),
}

impl From<Vec<u8>> for MemoryImage {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Encoded(bytes.into())
    }
}

impl From<&[u8]> for MemoryImage {
    fn from(bytes: &[u8]) -> Self {
        Self::Encoded(bytes.into())
    }
}

impl From<DynamicImage> for MemoryImage {
    fn from(image: DynamicImage) -> Self {
        Self::Decoded(Arc::new(image))
    }
}

impl Inputs {
    /// Takes images from an iterator: each the bytes of a file or a decoded image, with its class
    /// as the model counts, or none. `name` is what messages and records call them.
    ///
    /// They have labels if the first of them has one, which is taken at once for this; all others
    /// are taken when their turn comes.
    ///
    /// ```
    /// use kiln_pipeline::inputs::Inputs;
    ///
    /// let images = vec![(std::fs::read("cat.png").unwrap_or_default(), Some(0))];
    /// let inputs = Inputs::from_images("my images", images);
    /// assert_eq!((inputs.count, inputs.has_labels), (Some(1), true));
    /// ```
    pub fn from_images<T, I>(name: impl Into<String>, images: I) -> Self
    where
        T: Into<MemoryImage>,
        I: IntoIterator<Item = (T, Option<u32>)>,
        I::IntoIter: Send + 'static,
        T: Send + 'static,
    {
        let mut images = images.into_iter().peekable();
        let has_labels = images.peek().is_some_and(|(_, label)| label.is_some());
        let count = match images.size_hint() {
            (least, Some(most)) if least == most => Some(least as u64),
            _ => None,
        };
        let images = images.map(|(image, label)| Ok((Image::Memory(image.into()), label)));
        Self {
            has_paths: false,
            has_labels,
            ..Self::new(Source::named(name), count, images)
        }
    }
}
