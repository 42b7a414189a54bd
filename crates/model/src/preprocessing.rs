//! The preprocessing record: how the pixels of an image become the numbers that a model takes.
//!
//! There is one record for training and for serving. It is written into every exported file, so
//! that the two cannot drift apart. `kiln-preprocess` carries it out. The usual ones have names.

use serde::{Deserialize, Serialize};

/// How an image becomes the `[channels, height, width]` f32 tensor that a model takes.
///
/// A pixel value `p`, 0 to 255, of channel `c` becomes `(p * scale - mean[c]) / std[c]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// Height in pixels that images are resized to.
    pub height: u32,
    /// Width in pixels that images are resized to.
    pub width: u32,
    /// The channels and their order.
    pub channels: Channels,
    /// How images of another size are resized.
    pub resize: Resize,
    /// Factor applied to pixel values of 0 to 255.
    pub scale: f32,
    /// Subtracted from each channel after scaling, one value per channel.
    pub mean: Vec<f32>,
    /// Divides each channel last, one value per channel.
    pub std: Vec<f32>,
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

/// How an image is resized: bilinear, with half-pixel centers, without keeping the aspect ratio
/// (`tf.image.resize` with its defaults).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// Widen the filter when shrinking, so that every source pixel counts (`antialias=True` of
    /// `tf.image.resize`).
    #[serde(default)]
    pub antialias: bool,
}

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

    /// Returns the preprocessing for a graph that takes pixels: the same size and resizing, the
    /// channels in the order in which images are decoded, values of 0 to 255 as they are.
    #[must_use]
    pub fn pixels_only(&self) -> Self {
        let channels = if self.channels == Channels::Gray {
            Channels::Gray
        } else {
            Channels::Rgb
        };
        Self {
            resize: self.resize,
            ..Self::raw(self.height, self.width, channels)
        }
    }

    /// Whether pixel values are left as they are: nothing is scaled, subtracted or divided.
    pub fn keeps_pixels(&self) -> bool {
        *self
            == Self {
                resize: self.resize,
                ..Self::raw(self.height, self.width, self.channels)
            }
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

/// A preprocessing by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preprocess {
    /// 0 to 255, as they are.
    Raw,
    /// 0 to 1 (Keras's `Rescaling(1/255)`).
    Unit,
    /// Blue, green, red; minus ImageNet's mean of each (Keras's `preprocess_input` of VGG16).
    Caffe,
    /// 0 to 1, then ImageNet's mean and standard deviation of each channel (torchvision's).
    Torch,
    /// -1 to 1 (Keras's `preprocess_input` of MobileNet and others).
    Tf,
}

kiln_util::str_enum!(Preprocess: Serialize { Raw = "raw", Unit = "unit", Caffe = "caffe", Torch = "torch", Tf = "tf" });

impl Preprocess {
    /// The channels that it needs, where it has a mean for each color.
    pub const fn channels(self) -> Option<Channels> {
        match self {
            Self::Caffe => Some(Channels::Bgr),
            Self::Torch => Some(Channels::Rgb),
            Self::Raw | Self::Unit | Self::Tf => None,
        }
    }

    /// Makes the record. `channels` is ignored where [`channels`](Self::channels) has others.
    pub fn record(self, height: u32, width: u32, channels: Channels) -> Preprocessing {
        match self {
            Self::Raw => Preprocessing::raw(height, width, channels),
            Self::Unit => Preprocessing::unit(height, width, channels),
            Self::Caffe => Preprocessing::caffe(height, width),
            Self::Torch => Preprocessing::torch(height, width),
            Self::Tf => Preprocessing::tf(height, width, channels),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_graph_of_pixels_leaves_to_do_is_size_and_channels() {
        let record = Preprocessing {
            resize: Resize { antialias: true },
            ..Preprocessing::caffe(4, 5)
        };
        let left = record.pixels_only();
        assert_eq!(
            (left.channels, left.resize, left.shape()),
            (Channels::Rgb, record.resize, [3, 4, 5])
        );
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

    #[test]
    fn a_record_has_the_channels_of_its_name() {
        for preset in Preprocess::ALL {
            for channels in Channels::ALL {
                let record = preset.record(2, 3, channels);
                assert_eq!(record.channels, preset.channels().unwrap_or(channels));
                assert_eq!(record.check(), Ok(()));
            }
            assert_eq!(preset.as_str().parse(), Ok(preset));
        }
    }
}
