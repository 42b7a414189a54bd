//! Fully connected layers.

use serde::Serialize;

use super::activation::Activation;
use super::def::{Init, LayerDef, ParamDef, ParamRole};
use super::initializer::Initializer;
use super::nodes::Nodes;
use crate::document::{MAX_COUNT, RecipeError, Section};
use crate::graph::{Gemm, Op};
use crate::{Shape, ShapeError};

/// Settings of a fully connected layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Dense {
    /// Number of outputs.
    pub units: usize,
    /// Whether each output has a bias.
    pub use_bias: bool,
    /// Function applied to the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<Activation>,
    /// How the weights are drawn before training.
    #[serde(skip_serializing_if = "Initializer::is_default")]
    pub kernel_initializer: Initializer,
}

impl Dense {
    /// A layer with all other settings at their defaults.
    pub const fn of_size(units: usize) -> Self {
        Self {
            units,
            use_bias: true,
            activation: None,
            kernel_initializer: Initializer::GlorotUniform,
        }
    }
}

impl LayerDef for Dense {
    const TYPE: &'static str = "dense";
    const KEYS: &'static [&'static str] = &[
        "type",
        "name",
        "repeat",
        "units",
        "use_bias",
        "activation",
        "kernel_initializer",
    ];
    const HAS_PARAMS: bool = true;

    fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        Ok(Self {
            units: section.need("units")?.integer(1..=MAX_COUNT)?,
            use_bias: section.boolean_or("use_bias", true)?,
            activation: Activation::parse(section)?,
            kernel_initializer: Initializer::parse(section)?,
        })
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Shape::only_vector(Self::TYPE, "`flatten`", inputs).map(|_| Shape::Vector(self.units))
    }

    fn params(&self, inputs: &[Shape]) -> Result<Vec<ParamDef>, ShapeError> {
        let inputs = Shape::only_vector(Self::TYPE, "`flatten`", inputs)?;
        let init = self.kernel_initializer.init(inputs, self.units);
        let mut params = vec![ParamDef::new(
            ParamRole::Weight,
            &[self.units, inputs],
            init,
        )];
        if self.use_bias {
            params.push(ParamDef::new(ParamRole::Bias, &[self.units], Init::Zeros));
        }
        Ok(params)
    }

    fn is_softmax(&self) -> bool {
        self.activation == Some(Activation::Softmax)
    }

    fn lower(&self, nodes: &mut Nodes, path: &str, input: usize) -> Option<usize> {
        let params = self.params(&[nodes.shape(input)?]).ok()?;
        let op = Op::Gemm(Gemm {
            alpha: 1.0,
            beta: 1.0,
            trans_a: false,
            trans_b: true,
        });
        let sum = nodes.add_with(path, op, input, params)?;
        Activation::lower(self.activation, nodes, path, sum)
    }
}
