//! Functions applied to each value, as layers and as the end of other layers.

use serde::Serialize;

use super::def::LayerDef;
use super::nodes::{Nodes, join};
use crate::document::{RecipeError, Section};
use crate::graph::{Op, Unary};
use crate::{Shape, ShapeError};

/// A function applied to each value of a layer's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `max(0, x)`.
    Relu,
    /// `x` where it is positive, else `0.2 x` (Keras's default slope).
    LeakyRelu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `x Φ(x)` with the normal distribution's `Φ`, exactly (by erf), as Keras's default.
    Gelu,
    /// `x sigmoid(x)`, also called swish.
    Silu,
    /// `min(max(0, x), 6)`.
    Relu6,
    /// `min(max(0, x / 6 + 1/2), 1)`, as in Keras 3 and `PyTorch`.
    HardSigmoid,
    /// `x hard_sigmoid(x)`. Howard et al. (2019), section 5.2.
    HardSwish,
    /// Logits to probabilities; on the last layer only.
    Softmax,
}

kiln_util::str_enum!(Activation: Serialize {
    Relu = "relu",
    LeakyRelu = "leaky_relu",
    Sigmoid = "sigmoid",
    Tanh = "tanh",
    Gelu = "gelu",
    Silu = "silu",
    Relu6 = "relu6",
    HardSigmoid = "hard_sigmoid",
    HardSwish = "hard_swish",
    Softmax = "softmax",
});

impl Activation {
    /// Factor that [`Activation::LeakyRelu`] applies to negative values.
    pub const LEAKY_RELU_SLOPE: f64 = 0.2;

    /// Keras's word for no activation.
    const LINEAR: &str = "linear";

    /// Returns the operator that computes it.
    fn operator(self) -> Op {
        Op::Unary(match self {
            Self::Relu => Unary::Relu,
            Self::LeakyRelu => Unary::LeakyRelu {
                alpha: Self::LEAKY_RELU_SLOPE as f32,
            },
            Self::Sigmoid => Unary::Sigmoid,
            Self::Tanh => Unary::Tanh,
            Self::Gelu => Unary::Gelu { tanh: false },
            Self::Silu => Unary::Swish { alpha: 1.0 },
            Self::Relu6 => Unary::Clip {
                min: Some(0.0),
                max: Some(6.0),
            },
            Self::HardSigmoid => Unary::HardSigmoid {
                alpha: 1.0 / 6.0,
                beta: 0.5,
            },
            Self::HardSwish => Unary::HardSwish,
            Self::Softmax => return Op::Softmax { axis: 1 },
        })
    }

    /// Adds the function that ends a layer, if one does, as an operator.
    pub(super) fn lower(
        function: Option<Self>,
        nodes: &mut Nodes,
        path: &str,
        value: usize,
    ) -> Option<usize> {
        match function {
            Some(function) => {
                nodes.add_to(&join(path, function.as_str()), function.operator(), value)
            }
            None => Some(value),
        }
    }

    /// Reads the key `activation`: none by default.
    pub(super) fn parse(section: &Section<'_>) -> Result<Option<Self>, RecipeError> {
        let words: Vec<_> = Self::WORDS
            .into_iter()
            .map(|(word, activation)| (word, Some(activation)))
            .chain([(Self::LINEAR, None)])
            .collect();
        section.choice_or("activation", None, &words)
    }

    /// As [`parse`](Self::parse), of what cannot be the model's output: no softmax.
    pub(super) fn parse_inner(section: &Section<'_>) -> Result<Option<Self>, RecipeError> {
        let words: Vec<_> = Self::WORDS
            .into_iter()
            .filter(|(_, activation)| *activation != Self::Softmax)
            .map(|(word, activation)| (word, Some(activation)))
            .chain([(Self::LINEAR, None)])
            .collect();
        section.choice_or("activation", None, &words)
    }
}

/// A function applied to each value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ActivationLayer {
    /// The function.
    pub activation: Activation,
}

impl LayerDef for ActivationLayer {
    const TYPE: &'static str = "activation";
    const KEYS: &'static [&'static str] = &["type", "name", "repeat", "activation"];

    fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        let field = section.need("activation")?;
        match Activation::parse(section)? {
            Some(activation) => Ok(Self { activation }),
            None => Err(field.error("a layer of a linear activation does nothing: leave it out")),
        }
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        match self.activation {
            Activation::Softmax => Softmax {}.output(inputs),
            Activation::Relu
            | Activation::LeakyRelu
            | Activation::Sigmoid
            | Activation::Tanh
            | Activation::Gelu
            | Activation::Silu
            | Activation::Relu6
            | Activation::HardSigmoid
            | Activation::HardSwish => Shape::only(inputs),
        }
    }

    fn is_softmax(&self) -> bool {
        self.activation == Activation::Softmax
    }

    fn lower(&self, nodes: &mut Nodes, path: &str, input: usize) -> Option<usize> {
        nodes.add_to(path, self.activation.operator(), input)
    }
}

/// `max(0, x)`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Relu {}

impl LayerDef for Relu {
    const TYPE: &'static str = "relu";
    const KEYS: &'static [&'static str] = &["type", "name", "repeat"];

    fn parse(_: &Section<'_>) -> Result<Self, RecipeError> {
        Ok(Self {})
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Shape::only(inputs)
    }

    fn lower(&self, nodes: &mut Nodes, path: &str, input: usize) -> Option<usize> {
        nodes.add_to(path, Activation::Relu.operator(), input)
    }
}

/// Logits to probabilities; the last layer only.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Softmax {}

impl LayerDef for Softmax {
    const TYPE: &'static str = "softmax";
    const KEYS: &'static [&'static str] = &["type", "name", "repeat"];

    fn parse(_: &Section<'_>) -> Result<Self, RecipeError> {
        Ok(Self {})
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Shape::only_vector(Self::TYPE, "`flatten` and `dense`", inputs).map(Shape::Vector)
    }

    fn is_softmax(&self) -> bool {
        true
    }

    fn lower(&self, nodes: &mut Nodes, path: &str, input: usize) -> Option<usize> {
        nodes.add_to(path, Activation::Softmax.operator(), input)
    }
}
