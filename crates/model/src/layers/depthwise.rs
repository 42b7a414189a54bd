//! Convolutions of each channel by itself.

use serde::Serialize;

use super::activation::Activation;
use super::conv2d::{Conv2d, is_one_by_one};
use super::def::{LayerDef, ParamDef, ParamRole};
use super::initializer::Initializer;
use super::nodes::{Nodes, join};
use super::padding::Padding;
use crate::document::{MAX_COUNT, RecipeError, Section};
use crate::{Shape, ShapeError};

/// A convolution of each channel by itself, with kernels of its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DepthwiseConv2d {
    /// Height and width of the kernels.
    pub kernel_size: [usize; 2],
    /// Step in height and width.
    pub strides: [usize; 2],
    /// Whether the image is padded with zeros.
    pub padding: Padding,
    /// Number of output channels for each input channel.
    pub depth_multiplier: usize,
    /// Distance between the kernels' taps in height and width.
    #[serde(skip_serializing_if = "is_one_by_one")]
    pub dilation_rate: [usize; 2],
    /// Whether each output channel has a bias.
    pub use_bias: bool,
    /// Function applied to the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<Activation>,
    /// How the weights are drawn. As in Keras, `fan_in` is pixels times input channels and
    /// `fan_out` pixels times `depth_multiplier`.
    #[serde(skip_serializing_if = "Initializer::is_default")]
    pub kernel_initializer: Initializer,
}

impl DepthwiseConv2d {
    /// The same for so many channels.
    fn conv(&self, channels: usize) -> Conv2d {
        Conv2d {
            strides: self.strides,
            padding: self.padding,
            dilation_rate: self.dilation_rate,
            groups: channels,
            use_bias: self.use_bias,
            activation: self.activation,
            ..Conv2d::of_size(
                channels.saturating_mul(self.depth_multiplier),
                self.kernel_size,
            )
        }
    }
}

impl LayerDef for DepthwiseConv2d {
    const TYPE: &'static str = "depthwise_conv2d";
    const KEYS: &'static [&'static str] = &[
        "type",
        "name",
        "repeat",
        "kernel_size",
        "strides",
        "padding",
        "depth_multiplier",
        "dilation_rate",
        "use_bias",
        "activation",
        "kernel_initializer",
    ];
    const HAS_PARAMS: bool = true;
    const IS_COMPOSITE: bool = true;

    fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        Ok(Self {
            kernel_size: section.need("kernel_size")?.pair(1..=MAX_COUNT)?,
            strides: section.pair_or("strides", [1, 1], 1..=MAX_COUNT)?,
            padding: Padding::parse(section)?,
            depth_multiplier: section.integer_or("depth_multiplier", 1, 1..=MAX_COUNT)?,
            dilation_rate: section.pair_or("dilation_rate", [1, 1], 1..=MAX_COUNT)?,
            use_bias: section.boolean_or("use_bias", true)?,
            activation: Activation::parse_inner(section)?,
            kernel_initializer: Initializer::parse(section)?,
        })
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let image = Shape::only_image(Self::TYPE, inputs)?;
        self.conv(image.channels).output(inputs)
    }

    fn params(&self, inputs: &[Shape]) -> Result<Vec<ParamDef>, ShapeError> {
        let image = Shape::only_image(Self::TYPE, inputs)?;
        let [height, width] = self.kernel_size;
        let pixels = height.saturating_mul(width);
        let init = self.kernel_initializer.init(
            pixels.saturating_mul(image.channels),
            pixels.saturating_mul(self.depth_multiplier),
        );
        let mut params = self.conv(image.channels).params(inputs)?;
        for param in &mut params {
            if param.role == ParamRole::Weight {
                param.init = init;
            }
        }
        Ok(params)
    }

    fn lower(&self, nodes: &mut Nodes, path: &str, input: usize) -> Option<usize> {
        let channels = *nodes.shape(input)?.dims().first()?;
        self.conv(channels).lower(nodes, path, input)
    }
}

/// A convolution of each channel by itself, `depthwise`, then a 1×1 convolution over the channels,
/// `pointwise`. Chollet (2017).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeparableConv2d {
    /// Number of output channels.
    pub filters: usize,
    /// Height and width of the kernels.
    pub kernel_size: [usize; 2],
    /// Step in height and width.
    pub strides: [usize; 2],
    /// Whether the image is padded with zeros.
    pub padding: Padding,
    /// Number of channels between the two for each input channel.
    pub depth_multiplier: usize,
    /// Distance between the kernels' taps in height and width.
    #[serde(skip_serializing_if = "is_one_by_one")]
    pub dilation_rate: [usize; 2],
    /// Whether each filter has a bias.
    pub use_bias: bool,
    /// Function applied to the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<Activation>,
    /// How the weights of both are drawn.
    #[serde(skip_serializing_if = "Initializer::is_default")]
    pub kernel_initializer: Initializer,
}

impl SeparableConv2d {
    fn depthwise(&self) -> DepthwiseConv2d {
        DepthwiseConv2d {
            kernel_size: self.kernel_size,
            strides: self.strides,
            padding: self.padding,
            depth_multiplier: self.depth_multiplier,
            dilation_rate: self.dilation_rate,
            use_bias: false,
            activation: None,
            kernel_initializer: self.kernel_initializer,
        }
    }

    fn pointwise(&self) -> Conv2d {
        Conv2d {
            use_bias: self.use_bias,
            activation: self.activation,
            kernel_initializer: self.kernel_initializer,
            ..Conv2d::of_size(self.filters, [1, 1])
        }
    }
}

impl LayerDef for SeparableConv2d {
    const TYPE: &'static str = "separable_conv2d";
    const KEYS: &'static [&'static str] = &[
        "type",
        "name",
        "repeat",
        "filters",
        "kernel_size",
        "strides",
        "padding",
        "depth_multiplier",
        "dilation_rate",
        "use_bias",
        "activation",
        "kernel_initializer",
    ];
    const HAS_PARAMS: bool = true;
    const IS_COMPOSITE: bool = true;

    fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        Ok(Self {
            filters: section.need("filters")?.integer(1..=MAX_COUNT)?,
            kernel_size: section.need("kernel_size")?.pair(1..=MAX_COUNT)?,
            strides: section.pair_or("strides", [1, 1], 1..=MAX_COUNT)?,
            padding: Padding::parse(section)?,
            depth_multiplier: section.integer_or("depth_multiplier", 1, 1..=MAX_COUNT)?,
            dilation_rate: section.pair_or("dilation_rate", [1, 1], 1..=MAX_COUNT)?,
            use_bias: section.boolean_or("use_bias", true)?,
            activation: Activation::parse_inner(section)?,
            kernel_initializer: Initializer::parse(section)?,
        })
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Shape::only_image(Self::TYPE, inputs)?;
        self.pointwise().output(&[self.depthwise().output(inputs)?])
    }

    fn params(&self, inputs: &[Shape]) -> Result<Vec<ParamDef>, ShapeError> {
        let between = self.depthwise().output(inputs)?;
        let depthwise = self.depthwise().params(inputs)?;
        let pointwise = self.pointwise().params(&[between])?;
        let inside = |name: &'static str| move |param: ParamDef| param.inside(name);
        Ok(depthwise
            .into_iter()
            .map(inside("depthwise"))
            .chain(pointwise.into_iter().map(inside("pointwise")))
            .collect())
    }

    fn lower(&self, nodes: &mut Nodes, path: &str, input: usize) -> Option<usize> {
        let between = self
            .depthwise()
            .lower(nodes, &join(path, "depthwise"), input)?;
        self.pointwise()
            .lower(nodes, &join(path, "pointwise"), between)
    }
}
