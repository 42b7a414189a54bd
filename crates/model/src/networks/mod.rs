//! Networks by name, as torchvision builds them.
//!
//! Layers are called as torchvision's modules, with `_` for dots: `layer1.0.conv1.weight` of its
//! `ResNet` is `layer1_0.conv1.weight`, a layer and a layer inside of it.

mod convnext;
mod inverted;
mod resnet;

use serde::Serialize;

use crate::{
    Activation, ActivationLayer, BatchNorm, Conv2d, Dense, Distribution, Dropout, FanMode,
    GlobalAvgPool, Initializer, LayerKind, LayerSpec, Padding, Pads, Relu,
};

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

/// How a network begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stem {
    /// As published, for images of some 224 pixels.
    Default,
    /// For images of some 32 pixels: a first convolution of 3×3 pixels with strides of 1, without
    /// pooling after it.
    Small,
}

kiln_util::str_enum!(Stem: Serialize { Default = "default", Small = "small" });

impl Stem {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde hands over a reference"
    )]
    fn is_default(&self) -> bool {
        *self == Self::Default
    }

    /// Returns the strides of a first convolution of 3×3 pixels.
    const fn stride(self) -> usize {
        match self {
            Self::Default => 2,
            Self::Small => 1,
        }
    }
}

impl NetworkName {
    /// Whether it can begin in this way.
    pub const fn has_stem(self, stem: Stem) -> bool {
        match (self, stem) {
            (_, Stem::Default) => true,
            (Self::ConvnextTiny, Stem::Small) => false,
            (
                Self::Resnet18
                | Self::Resnet34
                | Self::Resnet50
                | Self::MobilenetV2
                | Self::MobilenetV3Small
                | Self::MobilenetV3Large
                | Self::EfficientnetB0
                | Self::EfficientnetLite0,
                Stem::Small,
            ) => true,
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

/// What comes after the features.
struct Classifier {
    before: Vec<LayerSpec>,
    /// Of the last layer.
    name: &'static str,
    /// Of the last layer.
    initializer: Initializer,
}

fn named(name: impl Into<String>, kind: impl Into<LayerKind>) -> LayerSpec {
    LayerSpec {
        name: Some(name.into()),
        kind: kind.into(),
    }
}

/// A convolution without bias whose output has as many pixels as steps fit into the image, as
/// torchvision's `Conv2dNormActivation` has.
fn conv(filters: usize, kernel: usize, stride: usize, groups: usize) -> Conv2d {
    let padding = match kernel / 2 {
        0 => Padding::Valid,
        pads => Padding::Explicit(Pads::all(pads)),
    };
    Conv2d {
        strides: [stride; 2],
        padding,
        groups,
        use_bias: false,
        kernel_initializer: Initializer::KAIMING_FAN_OUT,
        ..Conv2d::of_size(filters, [kernel; 2])
    }
}

/// `PyTorch`'s defaults.
const TORCH_NORM: BatchNorm = BatchNorm {
    momentum: 0.9,
    epsilon: 1e-5,
};

/// TensorFlow's defaults.
const TENSORFLOW_NORM: BatchNorm = BatchNorm {
    momentum: 0.99,
    epsilon: 1e-3,
};

fn activation(name: impl Into<String>, activation: Activation) -> LayerSpec {
    match activation {
        Activation::Relu => named(name, Relu {}),
        Activation::LeakyRelu
        | Activation::Sigmoid
        | Activation::Tanh
        | Activation::Gelu
        | Activation::Silu
        | Activation::Relu6
        | Activation::HardSigmoid
        | Activation::HardSwish
        | Activation::Softmax => named(name, ActivationLayer { activation }),
    }
}

/// A convolution, a batch normalization and, where there is one, an activation.
fn conv_norm(
    [conv_name, norm_name, activation_name]: [String; 3],
    conv: impl Into<LayerKind>,
    norm: &BatchNorm,
    function: Option<Activation>,
) -> Vec<LayerSpec> {
    let mut layers = vec![named(conv_name, conv), named(norm_name, norm.clone())];
    layers.extend(function.map(|function| activation(activation_name, function)));
    layers
}

/// The names of torchvision's `Conv2dNormActivation` of this name.
fn numbered(prefix: &str) -> [String; 3] {
    [0, 1, 2].map(|number| format!("{prefix}_{number}"))
}

fn dropout(name: &str, rate: f64) -> LayerSpec {
    named(name, Dropout { rate })
}

/// Uniform within `±1 / sqrt(n)`.
const fn uniform(mode: FanMode) -> Initializer {
    Initializer::VarianceScaling {
        scale: 1.0 / 3.0,
        mode,
        distribution: Distribution::Uniform,
    }
}

#[cfg(test)]
mod tests;
