//! The preprocessing record: how the pixels of an image become the numbers that a model takes.
//!
//! There is one record for training and for serving. It is written into every exported file, so
//! that the two cannot drift apart. `kiln-preprocess` carries it out.

use serde::{Deserialize, Serialize};

/// How an image becomes the `[channels, height, width]` f32 tensor that a model takes: turned
/// upright, put on a background, its channels converted, resized and cropped or padded; then a pixel
/// value `p`, 0 to 255, of channel `c` becomes `(p * scale - mean[c]) / std[c]`.
///
/// What a file's record leaves out is what kiln did before there was a word for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// Whether a photograph is turned upright by its Exif tag `Orientation`, as by Pillow's
    /// `ImageOps.exif_transpose`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub orientation: bool,
    /// Red, green and blue that transparent pixels are put on; without it, alpha is dropped.
    #[serde(default, skip_serializing_if = "is_default")]
    pub background: Option<[u8; 3]>,
    /// Height of the tensor in pixels.
    pub height: u32,
    /// Width of the tensor in pixels.
    pub width: u32,
    /// The channels and their order.
    pub channels: Channels,
    /// How images of another size are resized, and cropped or padded.
    pub resize: Resize,
    /// Factor applied to pixel values of 0 to 255.
    pub scale: f32,
    /// Subtracted from each channel after scaling, one value per channel.
    pub mean: Vec<f32>,
    /// Divides each channel last, one value per channel.
    pub std: Vec<f32>,
}

/// Whether a field need not be written, because a record without it means the same.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The channels of a model's input and their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    /// One channel: luma.
    Gray,
    /// Red, green, blue. A gray image is repeated into all three.
    Rgb,
    /// Blue, green, red, as networks converted from Caffe expect.
    Bgr,
}

kiln_util::str_enum!(Channels: Serialize + Deserialize { Gray = "gray", Rgb = "rgb", Bgr = "bgr" });

impl Channels {
    /// Number of channels.
    pub const fn count(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::Rgb | Self::Bgr => 3,
        }
    }
}

/// How an image is resized, and then cropped at the center or padded to the model's size.
///
/// The default is `tf.image.resize` with its defaults: bilinear, without keeping the aspect ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// Which sides of the image become [`size`](Self::size).
    #[serde(default, skip_serializing_if = "is_default")]
    pub fit: Fit,
    /// Height and width to resize to; the model's own unless given. Where the result is larger than
    /// the model's, its center is taken; where it is smaller, it is padded.
    #[serde(default, skip_serializing_if = "is_default")]
    pub size: Option<[u32; 2]>,
    /// What a pixel between pixels is.
    #[serde(default, skip_serializing_if = "is_default")]
    pub filter: Filter,
    /// Widen the filter when shrinking, so that every source pixel counts.
    #[serde(default)]
    pub antialias: bool,
    /// Whose arithmetic is followed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub arithmetic: Arithmetic,
    /// Red, green and blue of what an image is padded with.
    #[serde(default, skip_serializing_if = "is_default")]
    pub padding: [u8; 3],
    /// Where the center of an odd number of pixels to crop is.
    #[serde(default, skip_serializing_if = "is_default")]
    pub crop_rounding: CropRounding,
    /// Whether an image much larger than the size to resize to is first divided by 2, 4, 8 and so on: as
    /// often as so many times that size remain. 0, the default, divides none. A JPEG is decoded at the
    /// smaller size, as by Pillow's `draft`; of others, squares of pixels are averaged, as by its
    /// `Image.reduce`. At most [`Preprocessing::MAX_GAP`].
    #[serde(default, skip_serializing_if = "is_default")]
    pub reducing_gap: u32,
}

/// Which sides of an image become a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fit {
    /// Both, whatever the aspect ratio.
    #[default]
    Stretch,
    /// The shorter one; the other follows the aspect ratio, and what it has too much is cropped.
    /// Sides are rounded as by torchvision's `Resize(size)`, for a size that is not square as by
    /// timm's `ResizeKeepRatio`.
    Shorter,
    /// The longer one; the other follows the aspect ratio, and what it lacks is padded. Sides are
    /// rounded as by timm's `ResizeKeepRatio(longest=1)`.
    Longer,
    /// Both, of the largest part in the center of the image that has the size's aspect ratio: Keras's
    /// `crop_to_aspect_ratio`, with `Arithmetic::Pillow` the `keep_aspect_ratio` of its `load_img`.
    CropToAspectRatio,
}

kiln_util::str_enum!(Fit: Serialize + Deserialize {
    Stretch = "stretch",
    Shorter = "shorter",
    Longer = "longer",
    CropToAspectRatio = "crop_to_aspect_ratio",
});

/// How half of an odd number of pixels to crop is rounded to the number of those cropped at the top or
/// left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CropRounding {
    /// To the even neighbor: torchvision's and timm's `CenterCrop`.
    #[default]
    Even,
    /// Down: `center_crop` of Hugging Face's processors, Keras's `CenterCrop`.
    Down,
}

kiln_util::str_enum!(CropRounding: Serialize + Deserialize { Even = "even", Down = "down" });

/// What a pixel between pixels is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Filter {
    /// The nearest one; antialiasing changes nothing.
    Nearest,
    /// A linear mix of two along each axis.
    #[default]
    Bilinear,
    /// A cubic convolution (Keys, 1981) of four along each axis.
    Bicubic,
    /// A sinc windowed by a sinc, of six along each axis (`lanczos3`).
    Lanczos,
}

kiln_util::str_enum!(Filter: Serialize + Deserialize {
    Nearest = "nearest",
    Bilinear = "bilinear",
    Bicubic = "bicubic",
    Lanczos = "lanczos",
});

/// Whose arithmetic resizing follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arithmetic {
    /// f32, as `tf.image.resize`, which Keras uses too. Bicubic with a = -0.5; nearest by centers
    /// of pixels.
    #[default]
    TensorFlow,
    /// f32, as `torch.nn.functional.interpolate` of float tensors. Bicubic with a = -0.5 with
    /// antialiasing and -0.75 without; nearest by corners of pixels; no Lanczos.
    Torch,
    /// 8 bits, as Pillow's `Image.resize`, which torchvision, timm and Hugging Face use: along the
    /// width, rounded, then along the height, rounded. Pillow always antialiases; without, its
    /// filter is not widened.
    Pillow,
}

kiln_util::str_enum!(Arithmetic: Serialize + Deserialize {
    TensorFlow = "tensorflow",
    Torch = "torch",
    Pillow = "pillow",
});

/// An inconsistent record.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PreprocessingError {
    /// Height or width is zero or beyond [`Preprocessing::MAX_SIDE`].
    #[error("image size {height}x{width} is out of range: each side must be 1 to {max}", max = Preprocessing::MAX_SIDE)]
    Size {
        /// Height found.
        height: u32,
        /// Width found.
        width: u32,
    },
    /// A side of the size to resize to is zero or beyond [`Preprocessing::MAX_SIDE`].
    #[error("images are resized to {height}x{width}, which is out of range: each side must be 1 to {max}", max = Preprocessing::MAX_SIDE)]
    ResizedSize {
        /// Height found.
        height: u32,
        /// Width found.
        width: u32,
    },
    /// `reducing_gap` is beyond [`Preprocessing::MAX_GAP`].
    #[error("`reducing_gap` is {found}, which is out of range: expected 0 to {max}", max = Preprocessing::MAX_GAP)]
    ReducingGap {
        /// What was found.
        found: u32,
    },
    /// A filter that the arithmetic does not have.
    #[error("the arithmetic `{arithmetic}` has no filter `{filter}`: use `tensorflow` or `pillow`")]
    Filter {
        /// The filter.
        filter: Filter,
        /// The arithmetic.
        arithmetic: Arithmetic,
    },
    /// `mean` or `std` has another length than there are channels.
    #[error("`{field}` has {found} values for {expected} channels: give one value per channel")]
    Length {
        /// `mean` or `std`.
        field: &'static str,
        /// Number of channels.
        expected: usize,
        /// Number of values.
        found: usize,
    },
    /// A value that cannot be computed with.
    #[error("`{field}` is {value}: it must be a finite number{}", if *.nonzero { " other than 0" } else { "" })]
    Value {
        /// The field's name.
        field: &'static str,
        /// What was found.
        value: f32,
        /// Whether zero is refused too.
        nonzero: bool,
    },
}

impl Preprocessing {
    /// Longest side in pixels: far beyond what classifiers take, short of what exhausts memory.
    pub const MAX_SIDE: u32 = 8192;

    /// Largest `reducing_gap`: beyond 3, results hardly change.
    pub const MAX_GAP: u32 = 8;

    /// Pixels of 0 to 255 mapped to 0 to 1 (Keras's `Rescaling(1/255)`).
    pub fn unit(height: u32, width: u32, channels: Channels) -> Self {
        Self {
            scale: 1.0 / 255.0,
            ..Self::raw(height, width, channels)
        }
    }

    /// Pixels of 0 to 255 as they are.
    pub fn raw(height: u32, width: u32, channels: Channels) -> Self {
        let n = channels.count();
        Self {
            orientation: false,
            background: None,
            height,
            width,
            channels,
            resize: Resize::default(),
            scale: 1.0,
            mean: vec![0.0; n],
            std: vec![1.0; n],
        }
    }

    /// As Keras's `preprocess_input` with `mode="caffe"`: blue, green, red, each minus its mean
    /// over ImageNet.
    pub fn caffe(height: u32, width: u32) -> Self {
        Self {
            mean: vec![103.939, 116.779, 123.68],
            ..Self::raw(height, width, Channels::Bgr)
        }
    }

    /// As Keras's `preprocess_input` with `mode="torch"` and torchvision's models: red, green, blue
    /// from 0 to 1, with ImageNet's mean and standard deviation.
    pub fn torch(height: u32, width: u32) -> Self {
        Self {
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
            ..Self::unit(height, width, Channels::Rgb)
        }
    }

    /// As Keras's `preprocess_input` with `mode="tf"`: from -1 to 1.
    pub fn tf(height: u32, width: u32, channels: Channels) -> Self {
        let record = Self::raw(height, width, channels);
        Self {
            scale: 1.0 / 127.5,
            mean: vec![1.0; channels.count()],
            ..record
        }
    }

    /// Returns the preprocessing for a graph that takes pixels: the same but for the channels, in
    /// the order in which images are decoded, and the values, 0 to 255 as they are.
    #[must_use]
    pub fn pixels_only(&self) -> Self {
        let channels = if self.channels == Channels::Gray {
            Channels::Gray
        } else {
            Channels::Rgb
        };
        Self {
            orientation: self.orientation,
            background: self.background,
            resize: self.resize,
            ..Self::raw(self.height, self.width, channels)
        }
    }

    /// Returns the preprocessing for pixels that are prepared but for the channels and the values: an
    /// image of the record's size is neither resized nor cropped.
    #[must_use]
    pub fn values_only(&self) -> Self {
        Self {
            orientation: false,
            background: None,
            resize: Resize::default(),
            ..self.clone()
        }
    }

    /// Whether pixel values are left as they are: nothing is scaled, subtracted or divided.
    pub fn keeps_pixels(&self) -> bool {
        let raw = Self::raw(self.height, self.width, self.channels);
        (self.scale, &self.mean, &self.std) == (raw.scale, &raw.mean, &raw.std)
    }

    /// Whether a reader that knows only size, channels, `antialias` and values understands the
    /// record whole.
    pub fn is_plain(&self) -> bool {
        let resize = Resize {
            antialias: self.resize.antialias,
            ..Resize::default()
        };
        !self.orientation && self.background.is_none() && self.resize == resize
    }

    /// Height and width that images are resized to, or that limit their shorter or longer side.
    pub fn resized_size(&self) -> [u32; 2] {
        self.resize.size.unwrap_or([self.height, self.width])
    }

    /// The tensor's shape for one image: `[channels, height, width]`.
    pub fn shape(&self) -> [usize; 3] {
        [
            self.channels.count(),
            self.height as usize,
            self.width as usize,
        ]
    }

    /// Number of values in the tensor of one image.
    pub fn len(&self) -> usize {
        self.shape().iter().product()
    }

    /// Whether the tensor has no values; never so for a record that passed [`check`](Self::check).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks how images are resized: a size in range, a filter that the arithmetic has.
    pub(crate) fn check_resize(&self) -> Result<(), PreprocessingError> {
        let side = 1..=Self::MAX_SIDE;
        let [height, width] = self.resized_size();
        if !side.contains(&height) || !side.contains(&width) {
            return Err(PreprocessingError::ResizedSize { height, width });
        }
        let Resize {
            filter,
            arithmetic,
            reducing_gap,
            ..
        } = self.resize;
        if reducing_gap > Self::MAX_GAP {
            return Err(PreprocessingError::ReducingGap {
                found: reducing_gap,
            });
        }
        if (filter, arithmetic) == (Filter::Lanczos, Arithmetic::Torch) {
            return Err(PreprocessingError::Filter { filter, arithmetic });
        }
        Ok(())
    }

    /// Checks a record that came from outside: sizes in range, one mean and one deviation per
    /// channel, finite values.
    pub fn check(&self) -> Result<(), PreprocessingError> {
        let side = 1..=Self::MAX_SIDE;
        if !side.contains(&self.height) || !side.contains(&self.width) {
            return Err(PreprocessingError::Size {
                height: self.height,
                width: self.width,
            });
        }
        self.check_resize()?;
        let value = |field, value: f32, nonzero| {
            if value.is_finite() && !(nonzero && value == 0.0) {
                Ok(())
            } else {
                Err(PreprocessingError::Value {
                    field,
                    value,
                    nonzero,
                })
            }
        };
        for (field, values, nonzero) in [("mean", &self.mean, false), ("std", &self.std, true)] {
            if values.len() != self.channels.count() {
                return Err(PreprocessingError::Length {
                    field,
                    expected: self.channels.count(),
                    found: values.len(),
                });
            }
            for &v in values {
                value(field, v, nonzero)?;
            }
        }
        value("scale", self.scale, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_graph_of_pixels_leaves_to_do_is_size_and_channels() {
        let record = Preprocessing {
            orientation: true,
            background: Some([1, 2, 3]),
            resize: Resize {
                fit: Fit::Shorter,
                antialias: true,
                ..Resize::default()
            },
            ..Preprocessing::caffe(4, 5)
        };
        let left = record.pixels_only();
        assert_eq!(
            (left.channels, left.resize, left.shape()),
            (Channels::Rgb, record.resize, [3, 4, 5])
        );
        assert!(left.orientation && left.background == record.background);
        assert!(left.keeps_pixels() && !record.keeps_pixels());
        assert_eq!(
            Preprocessing::unit(2, 2, Channels::Gray)
                .pixels_only()
                .channels,
            Channels::Gray
        );
        for record in [
            Preprocessing::unit(2, 2, Channels::Gray),
            Preprocessing::tf(2, 2, Channels::Rgb),
        ] {
            assert!(!record.keeps_pixels());
        }
    }
}
