//! What networks by name are built of.

use crate::{
    Activation, ActivationLayer, BatchNorm, Conv2d, Distribution, Dropout, FanMode, Initializer,
    LayerKind, LayerSpec, Padding, Pads, Relu,
};

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
    pub(super) fn is_default(&self) -> bool {
        *self == Self::Default
    }

    /// Returns the strides of a first convolution of 3×3 pixels.
    pub(super) const fn stride(self) -> usize {
        match self {
            Self::Default => 2,
            Self::Small => 1,
        }
    }
}

/// What comes after the features.
pub(super) struct Classifier {
    pub before: Vec<LayerSpec>,
    /// Of the last layer.
    pub name: &'static str,
    /// Of the last layer.
    pub initializer: Initializer,
}

pub(super) fn named(name: impl Into<String>, kind: impl Into<LayerKind>) -> LayerSpec {
    LayerSpec {
        name: Some(name.into()),
        kind: kind.into(),
    }
}

/// A convolution without bias whose output has as many pixels as steps fit into the image, as
/// torchvision's `Conv2dNormActivation` has.
pub(super) fn conv(filters: usize, kernel: usize, stride: usize, groups: usize) -> Conv2d {
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
pub(super) const TORCH_NORM: BatchNorm = BatchNorm {
    momentum: 0.9,
    epsilon: 1e-5,
};

/// TensorFlow's defaults.
pub(super) const TENSORFLOW_NORM: BatchNorm = BatchNorm {
    momentum: 0.99,
    epsilon: 1e-3,
};

pub(super) fn activation(name: impl Into<String>, activation: Activation) -> LayerSpec {
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
pub(super) fn conv_norm(
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
pub(super) fn numbered(prefix: &str) -> [String; 3] {
    [0, 1, 2].map(|number| format!("{prefix}_{number}"))
}

pub(super) fn dropout(name: &str, rate: f64) -> LayerSpec {
    named(name, Dropout { rate })
}

/// Uniform within `±1 / sqrt(n)`.
pub(super) const fn uniform(mode: FanMode) -> Initializer {
    Initializer::VarianceScaling {
        scale: 1.0 / 3.0,
        mode,
        distribution: Distribution::Uniform,
    }
}
