//! `ConvNeXt`: Liu et al. (2022), as in torchvision.

use super::blocks::{Classifier, activation, conv, named};
use crate::{Activation, Conv2d, Initializer, LayerNorm, LayerScale, LayerSpec, Residual};

const INITIALIZER: Initializer = Initializer::TruncatedNormal { stddev: 0.02 };

const NORM: LayerNorm = LayerNorm { epsilon: 1e-6 };

/// Stochastic depth of the last block; that of others is proportional to their number.
const DROP_RATE: f64 = 0.1;

/// Blocks and channels of each stage.
const TINY: [(usize, usize); 4] = [(3, 96), (3, 192), (9, 384), (3, 768)];

pub(super) fn tiny() -> (Vec<LayerSpec>, Classifier) {
    let last = TINY.iter().map(|(blocks, _)| blocks).sum::<usize>() - 1;
    let mut layers = vec![
        named("features_0_0", patches(96, 4)),
        named("features_0_1", NORM),
    ];
    let mut before = 0_usize;
    for (at, (blocks, channels)) in TINY.into_iter().enumerate() {
        if at > 0 {
            layers.push(named(format!("features_{}_0", 2 * at), NORM));
            layers.push(named(
                format!("features_{}_1", 2 * at),
                patches(channels, 2),
            ));
        }
        for number in 0..blocks {
            let drop_rate = DROP_RATE * before as f64 / last as f64;
            let name = format!("features_{}_{number}", 2 * at + 1);
            layers.push(named(name, block(channels, drop_rate)));
            before += 1;
        }
    }
    let classifier = Classifier {
        before: vec![named("classifier_0", NORM)],
        name: "classifier_2",
        initializer: INITIALIZER,
    };
    (layers, classifier)
}

/// A convolution of squares beside each other.
fn patches(filters: usize, size: usize) -> Conv2d {
    Conv2d {
        strides: [size; 2],
        kernel_initializer: INITIALIZER,
        ..Conv2d::of_size(filters, [size; 2])
    }
}

fn block(channels: usize, drop_rate: f64) -> Residual {
    let depthwise = Conv2d {
        use_bias: true,
        kernel_initializer: INITIALIZER,
        ..conv(channels, 7, 1, channels)
    };
    // torchvision's dense layers over the channels of each pixel.
    let pointwise = |filters| patches(filters, 1);
    Residual {
        activation: None,
        drop_rate,
        layers: vec![
            named("block_0", depthwise),
            named("block_2", NORM),
            named("block_3", pointwise(4 * channels)),
            activation("block_4", Activation::Gelu),
            named("block_5", pointwise(channels)),
            named("layer_scale", LayerScale { init_values: 1e-6 }),
        ],
        shortcut: Vec::new(),
    }
}
