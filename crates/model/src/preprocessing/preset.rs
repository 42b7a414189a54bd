//! Preprocessing by name.

use super::{Channels, Preprocessing};

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
