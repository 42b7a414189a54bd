//! Batch normalization.

use serde::Serialize;

use super::def::{Init, LayerDef, ParamDef, ParamRole};
use super::nodes::Nodes;
use crate::document::{Bound, RecipeError, Section};
use crate::graph::Op;
use crate::{Shape, ShapeError};

/// Batch normalization over the channels of an image or the features of a vector.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BatchNorm {
    /// Keras's momentum: share of the running statistics that is kept at each step, 0 to less than
    /// 1, 0.99 by default. (PyTorch's and Burn's is one minus this.)
    pub momentum: f64,
    /// Added to the variance, above 0, 1e-3 by default.
    pub epsilon: f64,
}

impl LayerDef for BatchNorm {
    const TYPE: &'static str = "batch_norm";
    const KEYS: &'static [&'static str] = &["type", "name", "repeat", "momentum", "epsilon"];
    const HAS_PARAMS: bool = true;

    fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        Ok(Self {
            momentum: section.number_or("momentum", 0.99, Bound::Fraction)?,
            epsilon: section.number_or("epsilon", 1e-3, Bound::Positive)?,
        })
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Shape::only(inputs)
    }

    fn params(&self, inputs: &[Shape]) -> Result<Vec<ParamDef>, ShapeError> {
        let features = match Shape::only(inputs)? {
            Shape::Image { channels, .. } => channels,
            Shape::Vector(features) => features,
            found @ Shape::Tokens { .. } => {
                return Err(ShapeError::Tokens {
                    layer: Self::TYPE,
                    found,
                });
            }
        };
        let param = |role, init| ParamDef::new(role, &[features], init);
        Ok(vec![
            param(ParamRole::Weight, Init::Ones),
            param(ParamRole::Bias, Init::Zeros),
            param(ParamRole::RunningMean, Init::Zeros),
            param(ParamRole::RunningVar, Init::Ones),
        ])
    }

    fn lower(&self, nodes: &mut Nodes, path: &str, input: usize) -> Option<usize> {
        let params = self.params(&[nodes.shape(input)?]).ok()?;
        let op = Op::BatchNormalization {
            epsilon: self.epsilon as f32,
            momentum: self.momentum as f32,
        };
        nodes.add_with(path, op, input, params)
    }
}
