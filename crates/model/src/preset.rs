//! Preprocessing by name: the usual ones of Keras and PyTorch, and the pipelines of others.

use crate::steps::Steps;
use crate::{Arithmetic, Channels, Filter, Fit, Preprocessing};

/// A preprocessing by name: how pixel values become numbers, and for a whole pipeline also how images
/// are resized and cropped.
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
    /// The pipeline of torchvision's `ImageClassification`: shorter side to 8/7 of the model's
    /// (256 for 224), bilinear in Pillow's arithmetic, center crop; values as [`Torch`](Self::Torch).
    Torchvision,
    /// The pipeline of timm's `create_transform` with its defaults: as
    /// [`Torchvision`](Self::Torchvision), but bicubic.
    Timm,
    /// The pipeline of Ultralytics' `classify_transforms`: shorter side to the model's, bilinear in
    /// Pillow's arithmetic, center crop; stretched to a size that is not square; 0 to 1.
    Ultralytics,
}

kiln_util::str_enum!(Preprocess: Serialize {
    Raw = "raw",
    Unit = "unit",
    Caffe = "caffe",
    Torch = "torch",
    Tf = "tf",
    Torchvision = "torchvision",
    Timm = "timm",
    Ultralytics = "ultralytics",
});

impl Preprocess {
    /// The channels that it needs, where it has a mean for each color.
    pub const fn channels(self) -> Option<Channels> {
        match self {
            Self::Caffe => Some(Channels::Bgr),
            Self::Torch | Self::Torchvision | Self::Timm => Some(Channels::Rgb),
            Self::Raw | Self::Unit | Self::Tf | Self::Ultralytics => None,
        }
    }

    /// The steps before pixel values become numbers, where it is a whole pipeline; else none is
    /// specified.
    pub fn steps(self) -> Steps {
        let crop = |filter, crop_pct| Steps {
            orientation: Some(true),
            resize: Some(Fit::Shorter),
            crop_pct: Some(crop_pct),
            filter: Some(filter),
            antialias: Some(true),
            arithmetic: Some(Arithmetic::Pillow),
            ..Steps::default()
        };
        match self {
            Self::Raw | Self::Unit | Self::Caffe | Self::Torch | Self::Tf => Steps::default(),
            Self::Torchvision => crop(Filter::Bilinear, 0.875),
            Self::Timm => crop(Filter::Bicubic, 0.875),
            Self::Ultralytics => crop(Filter::Bilinear, 1.0),
        }
    }

    /// The steps for a model of this height and width: as [`steps`](Self::steps), but that Ultralytics
    /// stretches to a size that is not square.
    pub(crate) fn steps_for(self, [height, width]: [u32; 2]) -> Steps {
        let steps = self.steps();
        if self == Self::Ultralytics && height != width {
            Steps {
                resize: Some(Fit::Stretch),
                ..steps
            }
        } else {
            steps
        }
    }

    /// Makes the record. `channels` is ignored where [`channels`](Self::channels) has others.
    pub fn record(self, height: u32, width: u32, channels: Channels) -> Preprocessing {
        let values = match self {
            Self::Raw => Preprocessing::raw(height, width, channels),
            Self::Unit | Self::Ultralytics => Preprocessing::unit(height, width, channels),
            Self::Caffe => Preprocessing::caffe(height, width),
            Self::Torch | Self::Torchvision | Self::Timm => Preprocessing::torch(height, width),
            Self::Tf => Preprocessing::tf(height, width, channels),
        };
        self.steps_for([height, width]).apply(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Resize;

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

    #[test]
    fn pipelines_crop_the_center() {
        let crop = |filter, size: Option<u32>| Resize {
            fit: Fit::Shorter,
            size: size.map(|side| [side; 2]),
            filter,
            antialias: true,
            arithmetic: Arithmetic::Pillow,
            ..Resize::default()
        };
        for (preset, resize) in [
            (Preprocess::Torchvision, crop(Filter::Bilinear, Some(256))),
            (Preprocess::Timm, crop(Filter::Bicubic, Some(256))),
            (Preprocess::Ultralytics, crop(Filter::Bilinear, None)),
            (Preprocess::Torch, Resize::default()),
        ] {
            let record = preset.record(224, 224, Channels::Rgb);
            assert_eq!(record.resize, resize, "{preset}");
            assert_eq!(record.is_plain(), preset == Preprocess::Torch);
        }
    }
}
