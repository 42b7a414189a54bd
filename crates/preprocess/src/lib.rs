//! Images or raw pixels to `[channels, height, width]` f32 by a preprocessing record.
//!
//! This is the only code of kiln that touches pixels, in training and in serving, so that a model
//! sees the same numbers in both. The steps, in this order:
//!
//! 1. **Decode** ([`open`], [`decode`]): PNG, JPEG, BMP, WebP, TIFF or the first frame of a GIF,
//!    within limits on size, to the colors of Pillow's `convert("RGB")`, with the orientation tag of a
//!    photograph beside them.
//! 2. **To 8 bits**: of a 16-bit sample the high byte counts, as in `tf.io.decode_png`.
//!    (Pillow cuts gray ones off at 255 instead; of colors it takes the high byte too.)
//! 3. **Turn upright** by the photograph's Exif tag `Orientation` ([`Preprocessor::pixels`]), if the
//!    record says so, as by Pillow's `ImageOps.exif_transpose`.
//! 4. **To the record's channels**: transparent pixels are put on the record's background, as by
//!    Pillow's `Image.paste`; without one alpha is dropped, as by `tf.io.decode_image` and Pillow's
//!    `convert("RGB")`. Gray is repeated into every channel; color becomes gray by ITU-R 601-2 luma,
//!    rounded to 8 bits, as by Pillow's `convert("L")`.
//! 5. **Reduce** an image much larger than the size to resize to, if the record has a `reducing_gap`: means of
//!    squares, as by Pillow's `Image.reduce`; a JPEG that is decoded for a preprocessor
//!    ([`Preprocessor::decode`]) at a smaller size, as by its `draft`.
//! 6. **Resize**, both sides or the shorter or longer one, with the record's filter, in the
//!    arithmetic of `tf.image.resize`, `torch.nn.functional.interpolate` or Pillow. An image that
//!    has the size already is left as it is.
//! 7. **Crop or pad** to the tensor's size, about the center.
//! 8. **Transform** ([`Preprocessor::transformed`] only): in training, what augmentation has
//!    decided on.
//! 9. **Normalize**: `(p * scale - mean[c]) / std[c]` in f32, in exactly this order of operations.
//! 10. **Erase** ([`Preprocessor::transformed`] only): in training, a rectangle, if one was decided on.
//!
//! For a graph that normalizes by itself, [`to_pixels`] takes the place of normalizing.
//!
//! ```
//! use kiln_preprocess::{Preprocessor, RawImage};
//! use kiln_model::{Channels, Preprocessing};
//!
//! let preprocessor = Preprocessor::new(Preprocessing::raw(2, 2, Channels::Gray))?;
//! let mut tensor = vec![0.0; preprocessor.len()];
//! let pixels = [0, 51, 102, 255];
//! preprocessor.raw(RawImage { pixels: &pixels, height: 2, width: 2, channels: 1 }, &mut tensor)?;
//! assert_eq!(preprocessor.shape(), [1, 2, 2]);
//! assert_eq!(tensor, [0.0, 51.0, 102.0, 255.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod adjustment;
mod bytes;
mod channels;
mod decode;
mod erasing;
mod error;
mod geometry;
mod normalize;
mod orientation;
mod pixels;
mod preprocessor;
mod reduce;
mod resize;
mod transform;

pub use adjustment::{Adjustment, Mixture};
pub use decode::{
    Decoded, ENDINGS, EncodedImage, ImageBytes, ImageSource, Picture, decode, is_image_name, open,
};
pub use erasing::{Erasing, Filling};
pub use error::{Hint, PreprocessError};
pub use geometry::Crop;
pub use normalize::to_pixels;
pub use orientation::Orientation;
pub use pixels::{Pixels, RawImage};
pub use preprocessor::Preprocessor;
pub use transform::Transform;
