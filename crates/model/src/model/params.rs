//! The parameters of a layer: names, shapes and initial values.

use crate::{BatchNorm, Conv2d, Dense, LayerKind, Shape};

/// A tensor that belongs to a layer.
///
/// Names and layouts are PyTorch's, which are also ONNX's: `conv2d.weight` is `[filters, channels,
/// height, width]`, `dense.weight` is `[outputs, inputs]`; batch normalisation has `weight`,
/// `bias`, `running_mean`, `running_var` (Keras's gamma, beta, moving mean and variance).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// `<layer>.<parameter>`.
    pub name: String,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Whether the optimizer changes it.
    pub trainable: bool,
    /// Its values before training.
    pub init: Init,
}

/// Values of a parameter before training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    /// All zero.
    Zeros,
    /// All one.
    Ones,
    /// Glorot (Xavier) uniform: within `±sqrt(6 / (fan_in + fan_out))`. Glorot and Bengio (2010),
    /// equation 16.
    GlorotUniform {
        /// Values that each output is computed from.
        fan_in: usize,
        /// Outputs that each input reaches.
        fan_out: usize,
    },
}

impl Param {
    /// Whether it is a running statistic, which no optimizer changes.
    pub fn is_statistic(&self) -> bool {
        self.name.ends_with(".running_mean") || self.name.ends_with(".running_var")
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no values; never so in a checked model.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The parameters of a layer called `name` that takes `input`.
pub(super) fn of(name: &str, kind: &LayerKind, input: Shape) -> Vec<Param> {
    let param = |suffix: &str, shape: &[usize], trainable: bool, init: Init| Param {
        name: format!("{name}.{suffix}"),
        shape: shape.to_vec(),
        trainable,
        init,
    };
    match (kind, input) {
        (
            LayerKind::Conv2d(Conv2d {
                filters,
                kernel_size: [kh, kw],
                groups,
                use_bias,
                ..
            }),
            Shape::Image { channels, .. },
        ) => {
            // Sizes beyond all measure are refused by the caller.
            let window = kh.saturating_mul(*kw);
            let channels = channels / groups;
            let init = Init::GlorotUniform {
                fan_in: window.saturating_mul(channels),
                fan_out: window.saturating_mul(*filters),
            };
            let weight = param("weight", &[*filters, channels, *kh, *kw], true, init);
            let bias = use_bias.then(|| param("bias", &[*filters], true, Init::Zeros));
            std::iter::once(weight).chain(bias).collect()
        }
        (
            LayerKind::Dense(Dense {
                units, use_bias, ..
            }),
            Shape::Vector(inputs),
        ) => {
            let init = Init::GlorotUniform {
                fan_in: inputs,
                fan_out: *units,
            };
            let weight = param("weight", &[*units, inputs], true, init);
            let bias = use_bias.then(|| param("bias", &[*units], true, Init::Zeros));
            std::iter::once(weight).chain(bias).collect()
        }
        (LayerKind::BatchNorm(BatchNorm { .. }), shape) => {
            let features = match shape {
                Shape::Image { channels, .. } => channels,
                Shape::Vector(n) => n,
            };
            vec![
                param("weight", &[features], true, Init::Ones),
                param("bias", &[features], true, Init::Zeros),
                param("running_mean", &[features], false, Init::Zeros),
                param("running_var", &[features], false, Init::Ones),
            ]
        }
        _ => Vec::new(),
    }
}
