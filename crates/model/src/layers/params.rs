//! The parameters of layers: roles, shapes and initial values.

/// What a parameter is to its layer.
///
/// Names and layouts are PyTorch's, which are also ONNX's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ParamRole {
    /// Multiplies the input: `[filters, channels, height, width]` of a convolution, `[outputs,
    /// inputs]` of a dense layer, one factor per channel of a batch normalization (Keras's gamma).
    Weight,
    /// Is added to the output, one value per output channel (of a batch normalization, Keras's
    /// beta).
    Bias,
    /// Mean of each channel, tracked while training (Keras's moving mean).
    RunningMean,
    /// Variance of each channel, tracked while training (Keras's moving variance).
    RunningVar,
}

kiln_util::str_enum!(ParamRole {
    Weight = "weight",
    Bias = "bias",
    RunningMean = "running_mean",
    RunningVar = "running_var",
});

impl ParamRole {
    /// Returns the name of a layer's parameter: `conv2d.weight`.
    pub fn of(self, layer: &str) -> String {
        format!("{layer}.{self}")
    }

    /// Whether it is a running statistic, which no optimizer changes.
    pub const fn is_statistic(self) -> bool {
        match self {
            Self::Weight | Self::Bias => false,
            Self::RunningMean | Self::RunningVar => true,
        }
    }
}

/// A parameter that a kind of layer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamDef {
    /// What it is to the layer.
    pub role: ParamRole,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its values before training.
    pub init: Init,
}

impl ParamDef {
    /// A parameter with this role, shape and initial values.
    pub(super) fn new(role: ParamRole, shape: &[usize], init: Init) -> Self {
        Self {
            role,
            shape: shape.to_vec(),
            init,
        }
    }
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
        /// Number of values that each output is computed from.
        fan_in: usize,
        /// Number of outputs that each input reaches.
        fan_out: usize,
    },
}
