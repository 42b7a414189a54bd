//! Networks by name, as torchvision builds them.
//!
//! Layers are called as torchvision's modules, with `_` for dots: `layer1.0.conv1.weight` of its
//! `ResNet` is `layer1_0.conv1.weight`, a layer and a layer inside of it.

mod blocks;
mod convnext;
mod inverted;
mod resnet;

use serde::Serialize;

use crate::{Dense, GlobalAvgPool, LayerSpec};
use blocks::named;

pub use blocks::Stem;
pub use inverted::{EFFICIENTNET_B0, MOBILENET_V2, Stage};

/// `[network]`: a network by its name, before the recipe's own layers if there are any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Which one.
    pub name: NetworkName,
    /// How it begins.
    #[serde(skip_serializing_if = "Stem::is_default")]
    pub stem: Stem,
    /// Number of outputs of its classifier; without, it ends with its features, one vector for
    /// each image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,
}

/// A network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NetworkName {
    /// `ResNet`-18. He et al. (2016).
    Resnet18,
    /// `ResNet`-34. He et al. (2016).
    Resnet34,
    /// `ResNet`-50 whose 3×3 convolutions have the strides (version 1.5). He et al. (2016).
    Resnet50,
    /// `MobileNetV2`. Sandler et al. (2018).
    MobilenetV2,
    /// `MobileNetV3` Small. Howard et al. (2019).
    MobilenetV3Small,
    /// `MobileNetV3` Large. Howard et al. (2019).
    MobilenetV3Large,
    /// `EfficientNet`-B0. Tan and Le (2019).
    EfficientnetB0,
    /// `EfficientNet`-Lite0, as TensorFlow's: without squeeze and excitation, with `ReLU6` and the
    /// padding `same`.
    EfficientnetLite0,
    /// `ConvNeXt` Tiny. Liu et al. (2022).
    ConvnextTiny,
}

kiln_util::str_enum!(NetworkName: Serialize {
    Resnet18 = "resnet18",
    Resnet34 = "resnet34",
    Resnet50 = "resnet50",
    MobilenetV2 = "mobilenet_v2",
    MobilenetV3Small = "mobilenet_v3_small",
    MobilenetV3Large = "mobilenet_v3_large",
    EfficientnetB0 = "efficientnet_b0",
    EfficientnetLite0 = "efficientnet_lite0",
    ConvnextTiny = "convnext_tiny",
});

impl NetworkName {
    /// Whether it can begin in this way.
    pub const fn has_stem(self, stem: Stem) -> bool {
        match stem {
            Stem::Default => true,
            Stem::Small => !matches!(self, Self::ConvnextTiny),
        }
    }
}

impl Network {
    /// A network that begins as published.
    pub const fn new(name: NetworkName, classes: Option<usize>) -> Self {
        Self {
            name,
            stem: Stem::Default,
            classes,
        }
    }

    /// Returns its layers, from images of any number of channels to the scores, or to the features
    /// if it has no classes.
    pub fn layers(&self) -> Vec<LayerSpec> {
        let (mut layers, classifier) = match self.name {
            NetworkName::Resnet18 => resnet::layers(resnet::Kind::Basic, [2, 2, 2, 2], self.stem),
            NetworkName::Resnet34 => resnet::layers(resnet::Kind::Basic, [3, 4, 6, 3], self.stem),
            NetworkName::Resnet50 => {
                resnet::layers(resnet::Kind::Bottleneck, [3, 4, 6, 3], self.stem)
            }
            NetworkName::MobilenetV2 => inverted::mobilenet_v2(self.stem),
            NetworkName::MobilenetV3Small => inverted::mobilenet_v3_small(self.stem),
            NetworkName::MobilenetV3Large => inverted::mobilenet_v3_large(self.stem),
            NetworkName::EfficientnetB0 => inverted::efficientnet_b0(self.stem),
            NetworkName::EfficientnetLite0 => inverted::efficientnet_lite0(self.stem),
            NetworkName::ConvnextTiny => convnext::tiny(),
        };
        layers.push(named("avgpool", GlobalAvgPool {}));
        if let Some(classes) = self.classes {
            layers.extend(classifier.before);
            let last = Dense {
                kernel_initializer: classifier.initializer,
                ..Dense::of_size(classes)
            };
            layers.push(named(classifier.name, last));
        }
        layers
    }
}

#[cfg(test)]
mod tests;
