//! Networks of inverted residual blocks: `MobileNetV2` and V3, `EfficientNet`.

use super::blocks::{
    Classifier, Stem, TENSORFLOW_NORM, TORCH_NORM, activation, conv, conv_norm, dropout, named,
    numbered, uniform,
};
use crate::{
    Activation, BatchNorm, Dense, DepthwiseConv2d, FanMode, Gate, Initializer, LayerKind,
    LayerSpec, Padding, Residual, Sequential, SqueezeExcite,
};

/// Several blocks in a row; all but the first have strides of 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    /// Number of blocks.
    pub blocks: usize,
    /// Rows and columns of the depthwise convolutions.
    pub kernel: usize,
    /// Strides of the first block.
    pub stride: usize,
    /// Channels inside a block for each one before it.
    pub expansion: usize,
    /// Channels after a block.
    pub filters: usize,
}

const fn stage(
    blocks: usize,
    kernel: usize,
    stride: usize,
    expansion: usize,
    filters: usize,
) -> Stage {
    Stage {
        blocks,
        kernel,
        stride,
        expansion,
        filters,
    }
}

/// The stages of `EfficientNet`-B0 and -Lite0: table 1 of Tan and Le (2019).
pub const EFFICIENTNET_B0: [Stage; 7] = [
    stage(1, 3, 1, 1, 16),
    stage(2, 3, 2, 6, 24),
    stage(2, 5, 2, 6, 40),
    stage(3, 3, 2, 6, 80),
    stage(3, 5, 1, 6, 112),
    stage(4, 5, 2, 6, 192),
    stage(1, 3, 1, 6, 320),
];

/// The stages of `MobileNetV2`: table 2 of Sandler et al. (2018).
pub const MOBILENET_V2: [Stage; 7] = [
    stage(1, 3, 1, 1, 16),
    stage(2, 3, 2, 6, 24),
    stage(3, 3, 2, 6, 32),
    stage(4, 3, 2, 6, 64),
    stage(3, 3, 1, 6, 96),
    stage(3, 3, 2, 6, 160),
    stage(1, 3, 1, 6, 320),
];

/// How the layers of a block are built and called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// torchvision's `MobileNetV2`: `conv`, whose last convolution and normalization stand by
    /// themselves.
    Conv,
    /// torchvision's others: `block`.
    Block,
    /// TensorFlow's `EfficientNet`.
    Tensorflow,
}

/// A part of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Expand,
    Depthwise,
    Project,
}

impl Style {
    /// The names of convolution, normalization and activation of a part, the `number`th of its
    /// block.
    fn names(self, part: Part, number: usize) -> [String; 3] {
        match (self, part) {
            (Self::Conv, Part::Project) => [0, 1, 2].map(|at| format!("conv_{}", number + at)),
            (Self::Conv, Part::Expand | Part::Depthwise) => numbered(&format!("conv_{number}")),
            (Self::Block, _) => numbered(&format!("block_{number}")),
            (Self::Tensorflow, part) => match part {
                Part::Expand => ["expand_conv", "bn0", "relu0"],
                Part::Depthwise => ["depthwise_conv", "bn1", "relu1"],
                Part::Project => ["project_conv", "bn2", "relu2"],
            }
            .map(str::to_owned),
        }
    }

    /// A convolution over all channels.
    fn conv(self, filters: usize, kernel: usize, stride: usize) -> LayerKind {
        let mut conv = conv(filters, kernel, stride, 1);
        if self == Self::Tensorflow {
            conv.padding = Padding::Same;
        }
        conv.into()
    }

    fn depthwise(self, channels: usize, kernel: usize, stride: usize) -> LayerKind {
        match self {
            Self::Conv | Self::Block => conv(channels, kernel, stride, channels).into(),
            // What `fan_out` is of a depthwise convolution, the two count differently.
            Self::Tensorflow => DepthwiseConv2d {
                kernel_size: [kernel; 2],
                strides: [stride; 2],
                padding: Padding::Same,
                depth_multiplier: 1,
                dilation_rate: [1, 1],
                use_bias: false,
                activation: None,
                kernel_initializer: Initializer::KAIMING_FAN_OUT,
            }
            .into(),
        }
    }
}

/// A block that widens, convolves each channel and narrows.
struct Block<'a> {
    style: Style,
    norm: &'a BatchNorm,
    /// Channels before, inside and after.
    channels: [usize; 3],
    kernel: usize,
    stride: usize,
    activation: Activation,
    squeeze: Option<SqueezeExcite>,
    drop_rate: f64,
}

impl Block<'_> {
    /// The block with its input added where that has the same shape.
    fn layer(self, name: String) -> LayerSpec {
        let [before, wide, after] = self.channels;
        let mut layers = Vec::new();
        let mut number = 0;
        if wide != before {
            layers.extend(conv_norm(
                self.style.names(Part::Expand, number),
                self.style.conv(wide, 1, 1),
                self.norm,
                Some(self.activation),
            ));
            number += 1;
        }
        layers.extend(conv_norm(
            self.style.names(Part::Depthwise, number),
            self.style.depthwise(wide, self.kernel, self.stride),
            self.norm,
            Some(self.activation),
        ));
        number += 1;
        if let Some(squeeze) = self.squeeze {
            layers.push(named(format!("block_{number}"), squeeze));
            number += 1;
        }
        layers.extend(conv_norm(
            self.style.names(Part::Project, number),
            self.style.conv(after, 1, 1),
            self.norm,
            None,
        ));
        if self.stride == 1 && before == after {
            let residual = Residual {
                activation: None,
                drop_rate: self.drop_rate,
                layers,
                shortcut: Vec::new(),
            };
            named(name, residual)
        } else {
            named(name, Sequential { layers })
        }
    }
}

/// Goes through the blocks of stages: `block` takes the number of the stage from 1, that of the block
/// in it, that of all blocks before it, and channels before it, and gives a block.
fn blocks(
    stages: &[Stage],
    mut channels: usize,
    mut block: impl FnMut(&Stage, [usize; 3], usize) -> LayerSpec,
) -> Vec<LayerSpec> {
    let mut layers = Vec::new();
    for (number, stage) in (1..).zip(stages) {
        for at in 0..stage.blocks {
            let first = Stage {
                stride: if at == 0 { stage.stride } else { 1 },
                ..*stage
            };
            layers.push(block(&first, [number, at, layers.len()], channels));
            channels = stage.filters;
        }
    }
    layers
}

/// torchvision's: a convolution as the `number`th of `features`.
fn features(
    number: usize,
    filters: usize,
    kernel: usize,
    stride: usize,
    norm: &BatchNorm,
    activation: Activation,
) -> Vec<LayerSpec> {
    let names = numbered(&format!("features_{number}"));
    conv_norm(
        names,
        conv(filters, kernel, stride, 1),
        norm,
        Some(activation),
    )
}

pub(super) fn mobilenet_v2(stem: Stem) -> (Vec<LayerSpec>, Classifier) {
    let relu6 = Activation::Relu6;
    let mut layers = features(0, 32, 3, stem.stride(), &TORCH_NORM, relu6);
    let blocks = blocks(&MOBILENET_V2, 32, |stage, [_, _, number], channels| {
        let block = Block {
            style: Style::Conv,
            norm: &TORCH_NORM,
            channels: [channels, channels * stage.expansion, stage.filters],
            kernel: stage.kernel,
            stride: stage.stride,
            activation: relu6,
            squeeze: None,
            drop_rate: 0.0,
        };
        block.layer(format!("features_{}", number + 1))
    });
    let last = blocks.len() + 1;
    layers.extend(blocks);
    layers.extend(features(last, 1280, 1, 1, &TORCH_NORM, relu6));
    let classifier = Classifier {
        before: vec![dropout("classifier_0", 0.2)],
        name: "classifier_1",
        initializer: SMALL_NORMAL,
    };
    (layers, classifier)
}

/// Of the dense layers of `MobileNetV2` and V3.
const SMALL_NORMAL: Initializer = Initializer::RandomNormal { stddev: 0.01 };

/// Kernel, channels inside and after, whether it has squeeze and excitation, whether its activation
/// is the hard swish, strides.
type V3Block = (usize, usize, usize, bool, bool, usize);

/// Table 1 of Howard et al. (2019).
const V3_LARGE: [V3Block; 15] = [
    (3, 16, 16, false, false, 1),
    (3, 64, 24, false, false, 2),
    (3, 72, 24, false, false, 1),
    (5, 72, 40, true, false, 2),
    (5, 120, 40, true, false, 1),
    (5, 120, 40, true, false, 1),
    (3, 240, 80, false, true, 2),
    (3, 200, 80, false, true, 1),
    (3, 184, 80, false, true, 1),
    (3, 184, 80, false, true, 1),
    (3, 480, 112, true, true, 1),
    (3, 672, 112, true, true, 1),
    (5, 672, 160, true, true, 2),
    (5, 960, 160, true, true, 1),
    (5, 960, 160, true, true, 1),
];

/// Table 2 of Howard et al. (2019).
const V3_SMALL: [V3Block; 11] = [
    (3, 16, 16, true, false, 2),
    (3, 72, 24, false, false, 2),
    (3, 88, 24, false, false, 1),
    (5, 96, 40, true, true, 2),
    (5, 240, 40, true, true, 1),
    (5, 240, 40, true, true, 1),
    (5, 120, 48, true, true, 1),
    (5, 144, 48, true, true, 1),
    (5, 288, 96, true, true, 2),
    (5, 576, 96, true, true, 1),
    (5, 576, 96, true, true, 1),
];

pub(super) fn mobilenet_v3_small(stem: Stem) -> (Vec<LayerSpec>, Classifier) {
    mobilenet_v3(&V3_SMALL, 1024, stem)
}

pub(super) fn mobilenet_v3_large(stem: Stem) -> (Vec<LayerSpec>, Classifier) {
    mobilenet_v3(&V3_LARGE, 1280, stem)
}

fn mobilenet_v3(blocks: &[V3Block], units: usize, stem: Stem) -> (Vec<LayerSpec>, Classifier) {
    let norm = &TENSORFLOW_NORM;
    let swish = Activation::HardSwish;
    let mut channels = 16;
    let mut layers = features(0, channels, 3, stem.stride(), norm, swish);
    for (number, &(kernel, wide, filters, squeeze, is_swish, stride)) in (1..).zip(blocks) {
        let squeeze = squeeze.then(|| SqueezeExcite {
            gate: Gate::HardSigmoid,
            ..squeeze_excite(divisible_by_8(wide / 4), Activation::Relu)
        });
        let block = Block {
            style: Style::Block,
            norm,
            channels: [channels, wide, filters],
            kernel,
            stride,
            activation: if is_swish { swish } else { Activation::Relu },
            squeeze,
            drop_rate: 0.0,
        };
        layers.push(block.layer(format!("features_{number}")));
        channels = filters;
    }
    layers.extend(features(blocks.len() + 1, 6 * channels, 1, 1, norm, swish));
    let dense = Dense {
        kernel_initializer: SMALL_NORMAL,
        ..Dense::of_size(units)
    };
    let classifier = Classifier {
        before: vec![
            named("classifier_0", dense),
            activation("classifier_1", swish),
            dropout("classifier_2", 0.2),
        ],
        name: "classifier_3",
        initializer: SMALL_NORMAL,
    };
    (layers, classifier)
}

fn squeeze_excite(units: usize, activation: Activation) -> SqueezeExcite {
    SqueezeExcite {
        units: Some(units),
        ratio: None,
        activation: Some(activation),
        gate: Gate::Sigmoid,
        kernel_initializer: Initializer::KAIMING_FAN_OUT,
    }
}

/// Rounds to a multiple of 8, at least 8, and not by more than a tenth down: `_make_divisible` of
/// TensorFlow's slim models.
fn divisible_by_8(number: usize) -> usize {
    let rounded = ((number + 4) / 8 * 8).max(8);
    if rounded * 10 < number * 9 {
        rounded + 8
    } else {
        rounded
    }
}

/// Stochastic depth of the last block of `EfficientNet`; that of others is proportional to their
/// number.
const DROP_RATE: f64 = 0.2;

pub(super) fn efficientnet_b0(stem: Stem) -> (Vec<LayerSpec>, Classifier) {
    let silu = Activation::Silu;
    let count: usize = EFFICIENTNET_B0.iter().map(|stage| stage.blocks).sum();
    let mut layers = features(0, 32, 3, stem.stride(), &TORCH_NORM, silu);
    layers.extend(blocks(
        &EFFICIENTNET_B0,
        32,
        |stage, [number, at, before], channels| {
            let block = Block {
                style: Style::Block,
                norm: &TORCH_NORM,
                channels: [channels, channels * stage.expansion, stage.filters],
                kernel: stage.kernel,
                stride: stage.stride,
                activation: silu,
                squeeze: Some(squeeze_excite((channels / 4).max(1), silu)),
                drop_rate: DROP_RATE * before as f64 / count as f64,
            };
            block.layer(format!("features_{number}_{at}"))
        },
    ));
    let last = EFFICIENTNET_B0.len() + 1;
    layers.extend(features(last, 1280, 1, 1, &TORCH_NORM, silu));
    let classifier = Classifier {
        before: vec![dropout("classifier_0", 0.2)],
        name: "classifier_1",
        initializer: uniform(FanMode::FanOut),
    };
    (layers, classifier)
}

pub(super) fn efficientnet_lite0(stem: Stem) -> (Vec<LayerSpec>, Classifier) {
    let (style, norm, relu6) = (Style::Tensorflow, &TENSORFLOW_NORM, Activation::Relu6);
    let names = |names: [&str; 3]| names.map(str::to_owned);
    let count: usize = EFFICIENTNET_B0.iter().map(|stage| stage.blocks).sum();
    let mut layers = conv_norm(
        names(["conv_stem", "bn0", "relu0"]),
        style.conv(32, 3, stem.stride()),
        norm,
        Some(relu6),
    );
    layers.extend(blocks(
        &EFFICIENTNET_B0,
        32,
        |stage, [_, _, before], channels| {
            let block = Block {
                style,
                norm,
                channels: [channels, channels * stage.expansion, stage.filters],
                kernel: stage.kernel,
                stride: stage.stride,
                activation: relu6,
                squeeze: None,
                drop_rate: DROP_RATE * before as f64 / count as f64,
            };
            block.layer(format!("blocks_{before}"))
        },
    ));
    layers.extend(conv_norm(
        names(["conv_head", "bn1", "relu1"]),
        style.conv(1280, 1, 1),
        norm,
        Some(relu6),
    ));
    let classifier = Classifier {
        before: vec![dropout("dropout", 0.2)],
        name: "fc",
        initializer: uniform(FanMode::FanOut),
    };
    (layers, classifier)
}
