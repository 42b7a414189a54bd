//! Squeeze and excitation.

use serde::Serialize;

use super::activation::Activation;
use super::conv2d::Conv2d;
use super::def::{LayerDef, ParamDef};
use super::initializer::Initializer;
use super::nodes::{Nodes, join};
use crate::document::{MAX_COUNT, RecipeError, Section};
use crate::graph::{Binary, Input, Op};
use crate::{Shape, ShapeError};

/// Each channel multiplied by a factor that follows from the means of all: two dense layers, here
/// as 1×1 convolutions `fc1` and `fc2` as in torchvision. Hu et al. (2018).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SqueezeExcite {
    /// Number of outputs of the first dense layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub units: Option<usize>,
    /// Without `units`: channels divided by this, rounded down, at least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<usize>,
    /// Function after the first dense layer.
    pub activation: Option<Activation>,
    /// Function after the second one.
    pub gate: Gate,
    /// How the weights of both are drawn.
    #[serde(skip_serializing_if = "Initializer::is_default")]
    pub kernel_initializer: Initializer,
}

/// The function whose values are the factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// [`Activation::Sigmoid`].
    Sigmoid,
    /// [`Activation::HardSigmoid`].
    HardSigmoid,
}

kiln_util::str_enum!(Gate: Serialize { Sigmoid = "sigmoid", HardSigmoid = "hard_sigmoid" });

impl Gate {
    const fn activation(self) -> Activation {
        match self {
            Self::Sigmoid => Activation::Sigmoid,
            Self::HardSigmoid => Activation::HardSigmoid,
        }
    }
}

impl SqueezeExcite {
    /// Channels for each output of the first dense layer: Hu et al. (2018), section 6.1.
    const RATIO: usize = 16;

    /// The two dense layers for so many channels, by name.
    fn layers(&self, channels: usize) -> [(&'static str, Conv2d); 2] {
        let ratio = self.ratio.unwrap_or(Self::RATIO).max(1);
        let units = self.units.unwrap_or_else(|| (channels / ratio).max(1));
        let layer = |filters, activation| Conv2d {
            activation,
            kernel_initializer: self.kernel_initializer,
            ..Conv2d::of_size(filters, [1, 1])
        };
        [
            ("fc1", layer(units, self.activation)),
            ("fc2", layer(channels, Some(self.gate.activation()))),
        ]
    }
}

impl LayerDef for SqueezeExcite {
    const TYPE: &'static str = "squeeze_excite";
    const KEYS: &'static [&'static str] = &[
        "type",
        "name",
        "repeat",
        "units",
        "ratio",
        "activation",
        "gate",
        "kernel_initializer",
    ];
    const HAS_PARAMS: bool = true;
    const IS_COMPOSITE: bool = true;

    fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        let number = |key| {
            let field = section.get(key);
            field.map(|field| field.integer(1..=MAX_COUNT)).transpose()
        };
        let units = number("units")?;
        let ratio = number("ratio")?;
        if let (Some(_), Some(field)) = (units, section.get("ratio")) {
            return Err(field.error("`units` and `ratio` exclude each other: keep one"));
        }
        Ok(Self {
            units,
            ratio: ratio.or(units.is_none().then_some(Self::RATIO)),
            activation: match section.get("activation") {
                Some(_) => Activation::parse_inner(section)?,
                None => Some(Activation::Relu),
            },
            gate: section.choice_or("gate", Gate::Sigmoid, &Gate::WORDS)?,
            kernel_initializer: Initializer::parse(section)?,
        })
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Shape::only_image(Self::TYPE, inputs)?;
        Shape::only(inputs)
    }

    fn params(&self, inputs: &[Shape]) -> Result<Vec<ParamDef>, ShapeError> {
        let mut channels = Shape::only_image(Self::TYPE, inputs)?.channels;
        let mut params = Vec::new();
        for (name, layer) in self.layers(channels) {
            let pixel = Shape::Image {
                channels,
                height: 1,
                width: 1,
            };
            let own = layer.params(&[pixel])?;
            params.extend(own.into_iter().map(|param| param.inside(name)));
            channels = layer.filters;
        }
        Ok(params)
    }

    fn lower(&self, nodes: &mut Nodes, path: &str, input: usize) -> Option<usize> {
        let channels = *nodes.shape(input)?.dims().first()?;
        let mut factors = nodes.add_to(&join(path, "avgpool"), Op::GlobalAveragePool, input)?;
        for (name, layer) in self.layers(channels) {
            factors = layer.lower(nodes, &join(path, name), factors)?;
        }
        let both = vec![Input::Value(input), Input::Value(factors)];
        nodes.add(&join(path, "mul"), Op::Binary(Binary::Mul), both)
    }
}
