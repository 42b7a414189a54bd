//! Images or raw pixels to `[channels, height, width]` f32 by a preprocessing record.
//!
//! This is the only code of kiln that touches pixels, in training and in serving, so that a model
//! sees the same numbers in both. The steps, in this order:
//!
//! 1. **Decode** ([`open`], [`decode`]): PNG, JPEG, BMP, WebP or TIFF, within limits on size. The
//!    orientation tag of a photograph is not applied: neither Pillow nor `tf.io.decode_image`
//!    applies it.
//! 2. **To 8 bits**: of a 16-bit sample the high byte counts, as in `tf.io.decode_png`.
//!    (Pillow cuts gray ones off at 255 instead.)
//! 3. **To the record's channels**: alpha is dropped, not composited, as by `tf.io.decode_image`
//!    and Pillow's `convert("RGB")`; gray is repeated into every channel; color becomes gray by
//!    ITU-R 601-2 luma, rounded to 8 bits, as by Pillow's `convert("L")`.
//! 4. **Resize**: bilinear with half-pixel centers, as `tf.image.resize(method="bilinear")`, with
//!    or without antialiasing. An image that has the record's size already is left as it is.
//! 5. **Transform** ([`Preprocessor::transformed`] only): in training, what augmentation has
//!    decided on.
//! 6. **Normalize**: `(p * scale - mean[c]) / std[c]` in f32, in exactly this order of operations.
//!
//! For a graph that normalizes by itself, [`to_pixels`] takes the place of the last step.
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

mod channels;
mod decode;
mod error;
mod normalize;
mod orientation;
mod pixels;
mod preprocessor;
mod resize;
mod transform;

pub use decode::{ENDINGS, decode, is_image_name, open};
pub use error::{Hint, PreprocessError};
pub use normalize::to_pixels;
pub use orientation::Orientation;
pub use pixels::{Pixels, RawImage};
pub use preprocessor::Preprocessor;
pub use transform::Transform;
