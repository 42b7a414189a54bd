//! Layer normalization, and a factor for each channel.

use serde::Serialize;

use super::def::{Init, LayerDef, ParamDef, ParamRole};
use super::nodes::{Nodes, join};
use crate::document::{Bound, RecipeError, Section};
use crate::graph::{Binary, Input, Op};
use crate::{Shape, ShapeError};

/// Normalization of each sample by mean and variance: over the features of a vector, over the
/// channels at each pixel of an image as in `ConvNeXt`. Ba et al. (2016).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerNorm {
    /// Added to the variance, above 0, 1e-3 by default.
    pub epsilon: f64,
}

impl LayerDef for LayerNorm {
    const TYPE: &'static str = "layer_norm";
    const KEYS: &'static [&'static str] = &["type", "name", "repeat", "epsilon"];
    const HAS_PARAMS: bool = true;
    const IS_COMPOSITE: bool = true;

    fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        Ok(Self {
            epsilon: section.number_or("epsilon", 1e-3, Bound::Positive)?,
        })
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Shape::only(inputs)
    }

    fn params(&self, inputs: &[Shape]) -> Result<Vec<ParamDef>, ShapeError> {
        let shape = [channels(Shape::only(inputs)?)];
        Ok(vec![
            ParamDef::new(ParamRole::Weight, &shape, Init::Ones),
            ParamDef::new(ParamRole::Bias, &shape, Init::Zeros),
        ])
    }

    fn lower(&self, nodes: &mut Nodes, path: &str, input: usize) -> Option<usize> {
        let shape = nodes.shape(input)?;
        let params = self.params(&[shape]).ok()?;
        let op = |axis| Op::LayerNormalization {
            axis,
            epsilon: self.epsilon as f32,
        };
        match shape {
            Shape::Vector(_) => nodes.add_with(path, op(1), input, params),
            Shape::Tokens { .. } => nodes.add_with(path, op(2), input, params),
            // The operator normalizes over the last axes.
            Shape::Image { .. } => {
                let transpose = |perm: [usize; 4]| Op::Transpose {
                    perm: perm.to_vec(),
                };
                let last = nodes.add_to(&join(path, "nhwc"), transpose([0, 2, 3, 1]), input)?;
                let normalized = nodes.add_with(path, op(3), last, params)?;
                nodes.add_to(&join(path, "nchw"), transpose([0, 3, 1, 2]), normalized)
            }
        }
    }
}

/// A trained factor for each channel of an image or feature of a vector. Touvron et al. (2021).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerScale {
    /// The factors before training, 1e-6 by default as in torchvision's `ConvNeXt`.
    pub init_values: f64,
}

impl LayerDef for LayerScale {
    const TYPE: &'static str = "layer_scale";
    const KEYS: &'static [&'static str] = &["type", "name", "repeat", "init_values"];
    const HAS_PARAMS: bool = true;
    const IS_COMPOSITE: bool = true;

    fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        Ok(Self {
            init_values: section.number_or("init_values", 1e-6, Bound::Finite)?,
        })
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Shape::only(inputs)
    }

    fn params(&self, inputs: &[Shape]) -> Result<Vec<ParamDef>, ShapeError> {
        let init = Init::Filled(self.init_values as f32);
        let shape = match Shape::only(inputs)? {
            Shape::Image { channels, .. } => vec![channels, 1, 1],
            Shape::Vector(features) | Shape::Tokens { features, .. } => vec![features],
        };
        Ok(vec![ParamDef::new(ParamRole::Weight, &shape, init)])
    }

    fn lower(&self, nodes: &mut Nodes, path: &str, input: usize) -> Option<usize> {
        let params = self.params(&[nodes.shape(input)?]).ok()?;
        let mut inputs = vec![Input::Value(input)];
        inputs.extend(nodes.parameters(path, params));
        nodes.add(path, Op::Binary(Binary::Mul), inputs)
    }
}

/// Number of channels or features.
const fn channels(shape: Shape) -> usize {
    match shape {
        Shape::Image { channels, .. } => channels,
        Shape::Vector(features) | Shape::Tokens { features, .. } => features,
    }
}
