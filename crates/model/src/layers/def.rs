//! What every kind of layer defines, its parameters among them: roles, shapes and initial values.

use super::nodes::{Nodes, join};
use crate::document::{RecipeError, Section};
use crate::shape::{Shape, ShapeError};

/// What a kind of layer is: everything that recipes, shape inference and parameter counts need to
/// know of it, implemented by its settings.
pub(crate) trait LayerDef: Sized {
    /// The `type` in a recipe, and the name of a layer that has none.
    const TYPE: &'static str;

    /// The keys in a recipe, `type` and `name` included.
    const KEYS: &'static [&'static str];

    /// Whether there are settings with which it has parameters.
    const HAS_PARAMS: bool = false;

    /// Whether it is several operators at once, or one that only segments have: what computes it is
    /// its [segment](super::LayerKind::segment).
    const IS_COMPOSITE: bool = false;

    /// Reads the settings from a layer's table, in which only [`KEYS`](Self::KEYS) are left.
    fn parse(section: &Section<'_>) -> Result<Self, RecipeError>;

    /// Computes the shape of one output sample from those of the input samples.
    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError>;

    /// Lists the parameters, trainable ones first, as Keras's summary does; needs
    /// [`HAS_PARAMS`](Self::HAS_PARAMS).
    fn params(&self, _inputs: &[Shape]) -> Result<Vec<ParamDef>, ShapeError> {
        Ok(Vec::new())
    }

    /// Whether the output is a probability distribution, after which no layer may follow.
    fn is_softmax(&self) -> bool {
        false
    }

    /// Whether the output is random while training.
    fn is_random(&self) -> bool {
        false
    }

    /// Adds the operators that compute it from a value, and returns the value of its output; none
    /// for shapes that do not fit, and where no segment can hold it. `path` is its name inside of
    /// the layer that the operators are of; empty if it is that layer.
    fn lower(&self, nodes: &mut Nodes, path: &str, input: usize) -> Option<usize>;
}

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
    /// A tensor that training leaves alone.
    Constant,
}

kiln_util::str_enum!(ParamRole {
    Weight = "weight",
    Bias = "bias",
    RunningMean = "running_mean",
    RunningVar = "running_var",
    Constant = "constant",
});

impl ParamRole {
    /// Returns the name of a layer's parameter: `conv2d.weight`.
    pub fn of(self, layer: &str) -> String {
        format!("{layer}.{self}")
    }

    /// Whether an optimizer changes it: it is neither a running statistic nor a constant.
    pub const fn is_trained(self) -> bool {
        match self {
            Self::Weight | Self::Bias => true,
            Self::RunningMean | Self::RunningVar | Self::Constant => false,
        }
    }
}

/// A parameter that a kind of layer has.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamDef {
    /// Its name in the layer: what follows the layer's and a dot.
    pub name: String,
    /// What it is to the layer.
    pub role: ParamRole,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its values before training.
    pub init: Init,
}

impl ParamDef {
    /// A parameter with this role, shape and initial values, which is called after its role.
    pub(super) fn new(role: ParamRole, shape: &[usize], init: Init) -> Self {
        Self {
            name: role.to_string(),
            role,
            shape: shape.to_vec(),
            init,
        }
    }

    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The parameter of a layer of this name inside of another.
    #[must_use]
    pub(super) fn inside(self, layer: &str) -> Self {
        Self {
            name: join(layer, &self.name),
            ..self
        }
    }
}

/// Values of a parameter before training.
#[derive(Debug, Clone, Copy, PartialEq)]
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
    /// All this number.
    Filled(f32),
    /// Uniform within `±limit`.
    Uniform {
        /// Above 0.
        limit: f32,
    },
    /// Normal with mean 0.
    Normal {
        /// Standard deviation, above 0.
        stddev: f32,
    },
    /// Normal with mean 0, drawn again while further away than two standard deviations.
    TruncatedNormal {
        /// Standard deviation before truncation, above 0.
        stddev: f32,
    },
    /// Those of the file that the layer comes from.
    Given,
}
