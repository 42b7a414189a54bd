//! What is said about a model: on the command line, in a sidecar, or in the metadata of its file.

mod parse;

pub use parse::{parse_number, parse_numbers, parse_size};

use crate::{Channels, Layout, OutputKind, Preprocess, Preprocessing, PreprocessingError, Resize};

/// What is said about a model's input and output. Each part may be left open, for another source or
/// the graph to say.
///
/// A pixel value `p`, 0 to 255, of channel `c` becomes `(p * scale - mean[c]) / std[c]`, as in
/// [`Preprocessing`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Declaration {
    /// Channels, scale, mean and standard deviation by a name.
    pub preprocess: Option<Preprocess>,
    /// Height and width in pixels.
    pub size: Option<[u32; 2]>,
    /// Which channels, in which order; also that of `mean` and `std`.
    pub channels: Option<Channels>,
    /// Whether shrinking an image weighs every source pixel; not so unless said.
    pub antialias: Option<bool>,
    /// Factor applied to pixel values of 0 to 255.
    pub scale: Option<f32>,
    /// Subtracted after scaling: one value per channel, or one for all.
    pub mean: Option<Vec<f32>>,
    /// Divides last: one value per channel, or one for all.
    pub std: Option<Vec<f32>>,
    /// The names of the classes, in the order of the output.
    pub labels: Option<Vec<String>>,
    /// The order of the axes of the graph's input.
    pub layout: Option<Layout>,
    /// What the output is.
    pub output: Option<OutputKind>,
}

/// A declaration that makes no preprocessing record.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DeclarationError {
    /// Nobody says how pixel values become numbers.
    #[error("nothing says how pixel values become numbers")]
    NoNormalization,
    /// Nobody says the size, and the graph leaves it open.
    #[error("nothing says the size of the images, and the graph leaves it open")]
    NoSize,
    /// A name that is for other channels.
    #[error(
        "`{preprocess}` has a mean for each channel in the order {expected}, found the channels {found}: leave them out"
    )]
    Channels {
        /// The name.
        preprocess: Preprocess,
        /// The channels that it is for.
        expected: Channels,
        /// The channels said.
        found: Channels,
    },
    /// Values that do not fit together.
    #[error(transparent)]
    Record(#[from] PreprocessingError),
}

impl Declaration {
    /// What this says, and where it leaves something open, what `other` says. A name for the
    /// preprocessing stands for all that it comprises: `other` is not asked for what this name
    /// sets.
    #[must_use]
    pub fn over(self, other: Self) -> Self {
        let named = self.preprocess.is_some();
        let with_channels = self
            .preprocess
            .is_some_and(|preset| preset.channels().is_some());
        Self {
            preprocess: self.preprocess.or(other.preprocess),
            size: self.size.or(other.size),
            channels: self.channels.or(other.channels.filter(|_| !with_channels)),
            antialias: self.antialias.or(other.antialias),
            scale: self.scale.or(other.scale.filter(|_| !named)),
            mean: self.mean.or(other.mean.filter(|_| !named)),
            std: self.std.or(other.std.filter(|_| !named)),
            labels: self.labels.or(other.labels),
            layout: self.layout.or(other.layout),
            output: self.output.or(other.output),
        }
    }

    /// Whether this says how pixel values become numbers, or part of it.
    pub const fn says_normalization(&self) -> bool {
        self.preprocess.is_some()
            || self.scale.is_some()
            || self.mean.is_some()
            || self.std.is_some()
    }

    /// The channels said, by name or by the name of the preprocessing.
    pub fn said_channels(&self) -> Option<Channels> {
        self.channels
            .or_else(|| self.preprocess.and_then(Preprocess::channels))
    }

    /// The record, with a size and channels for where nothing is said about them.
    pub fn preprocessing(
        &self,
        size: Option<[u32; 2]>,
        channels: Channels,
    ) -> Result<Preprocessing, DeclarationError> {
        if !self.says_normalization() {
            return Err(DeclarationError::NoNormalization);
        }
        let preprocess = self.preprocess.unwrap_or(Preprocess::Raw);
        let [height, width] = self.size.or(size).ok_or(DeclarationError::NoSize)?;
        let channels = self.said_channels().unwrap_or(channels);
        if let Some(expected) = preprocess
            .channels()
            .filter(|&expected| expected != channels)
        {
            return Err(DeclarationError::Channels {
                preprocess,
                expected,
                found: channels,
            });
        }
        let mut record = preprocess.record(height, width, channels);
        record.resize = Resize {
            antialias: self.antialias.unwrap_or_default(),
        };
        record.scale = self.scale.unwrap_or(record.scale);
        for (values, said) in [(&mut record.mean, &self.mean), (&mut record.std, &self.std)] {
            match said.as_deref() {
                None => {}
                Some(&[one]) => values.fill(one),
                Some(several) => *values = several.to_vec(),
            }
        }
        record.check()?;
        Ok(record)
    }
}

/// Everything that the record says.
impl From<Preprocessing> for Declaration {
    fn from(record: Preprocessing) -> Self {
        let Preprocessing {
            height,
            width,
            channels,
            resize,
            scale,
            mean,
            std,
        } = record;
        Self {
            size: Some([height, width]),
            channels: Some(channels),
            antialias: Some(resize.antialias),
            scale: Some(scale),
            mean: Some(mean),
            std: Some(std),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests;
