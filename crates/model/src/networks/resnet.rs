//! `ResNet`: He et al. (2016), as in torchvision.

use super::blocks::{Classifier, Stem, TORCH_NORM, activation, conv, conv_norm, named, uniform};
use crate::{Activation, FanMode, LayerSpec, MaxPool, Padding, Pads, Pool, Residual};

/// How a block is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Two convolutions of 3×3 pixels.
    Basic,
    /// One of 1×1, one of 3×3 and one of 1×1 pixels, which has four times the channels.
    Bottleneck,
}

/// The layers up to the global pooling, with so many blocks in each stage.
pub(super) fn layers(kind: Kind, blocks: [usize; 4], stem: Stem) -> (Vec<LayerSpec>, Classifier) {
    let mut layers = match stem {
        Stem::Default => first(7, 2),
        Stem::Small => first(3, 1),
    };
    if stem == Stem::Default {
        let pool = Pool {
            strides: [2; 2],
            padding: Padding::Explicit(Pads::all(1)),
            ..Pool::of_size([3; 2])
        };
        layers.push(named("maxpool", MaxPool(pool)));
    }
    let mut channels = 64;
    for (stage, (count, width)) in (1..).zip(blocks.into_iter().zip([64, 128, 256, 512])) {
        for number in 0..count {
            let stride = if number == 0 && stage > 1 { 2 } else { 1 };
            let name = format!("layer{stage}_{number}");
            layers.push(named(name, block(kind, channels, width, stride)));
            channels = kind.filters(width);
        }
    }
    let classifier = Classifier {
        before: Vec::new(),
        name: "fc",
        initializer: uniform(FanMode::FanIn),
    };
    (layers, classifier)
}

fn first(kernel: usize, stride: usize) -> Vec<LayerSpec> {
    let names = ["conv1", "bn1", "relu"].map(str::to_owned);
    let conv = conv(64, kernel, stride, 1);
    conv_norm(names, conv, &TORCH_NORM, Some(Activation::Relu))
}

impl Kind {
    /// Channels that a block of this width gives.
    const fn filters(self, width: usize) -> usize {
        match self {
            Self::Basic => width,
            Self::Bottleneck => 4 * width,
        }
    }
}

fn block(kind: Kind, channels: usize, width: usize, stride: usize) -> Residual {
    let filters = kind.filters(width);
    let convs = match kind {
        Kind::Basic => vec![conv(width, 3, stride, 1), conv(width, 3, 1, 1)],
        Kind::Bottleneck => vec![
            conv(width, 1, 1, 1),
            conv(width, 3, stride, 1),
            conv(filters, 1, 1, 1),
        ],
    };
    let count = convs.len();
    let mut layers = Vec::new();
    for (number, conv) in (1..).zip(convs) {
        layers.push(named(format!("conv{number}"), conv));
        layers.push(named(format!("bn{number}"), TORCH_NORM));
        if number < count {
            layers.push(activation(format!("relu{number}"), Activation::Relu));
        }
    }
    let shortcut = if stride == 1 && channels == filters {
        Vec::new()
    } else {
        vec![
            named("downsample_0", conv(filters, 1, stride, 1)),
            named("downsample_1", TORCH_NORM),
        ]
    };
    Residual {
        activation: Some(Activation::Relu),
        drop_rate: 0.0,
        layers,
        shortcut,
    }
}
