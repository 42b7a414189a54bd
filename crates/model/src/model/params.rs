//! The parameters of a model, by name.

use crate::{Init, ParamDef, ParamRole};

/// A tensor that belongs to a layer.
///
/// Names and layouts are PyTorch's, which are also ONNX's: `conv2d.weight` is `[filters, channels,
/// height, width]`, `dense.weight` is `[outputs, inputs]`; batch normalization has `weight`,
/// `bias`, `running_mean`, `running_var` (Keras's gamma, beta, moving mean and variance).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// `<layer>.<parameter>`.
    pub name: String,
    /// What it is to its layer.
    pub role: ParamRole,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Whether the optimizer changes it.
    pub trainable: bool,
    /// Its values before training.
    pub init: Init,
}

impl Param {
    /// A parameter of the layer of this name, not frozen.
    pub(super) fn new(layer: &str, ParamDef { role, shape, init }: ParamDef) -> Self {
        Self {
            name: role.of(layer),
            role,
            shape,
            trainable: !role.is_statistic(),
            init,
        }
    }

    /// Whether it is a running statistic, which no optimizer changes.
    pub const fn is_statistic(&self) -> bool {
        self.role.is_statistic()
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
