//! Convolution.

use serde::Serialize;

use super::activation::Activation;
use super::def::{Init, LayerDef, ParamDef, ParamRole};
use super::initializer::Initializer;
use super::nodes::{Nodes, window};
use super::padding::{Padding, Pads, positions};
use crate::document::{MAX_COUNT, RecipeError, Section};
use crate::graph::{Conv, Op};
use crate::shape::{ImageShape, Shape, ShapeError};

/// Settings of a convolution.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Conv2d {
    /// Number of output channels.
    pub filters: usize,
    /// Height and width of the kernel.
    pub kernel_size: [usize; 2],
    /// Step in height and width.
    pub strides: [usize; 2],
    /// Whether the image is padded with zeros.
    pub padding: Padding,
    /// Distance between the kernel's taps in height and width; 1 is a dense kernel.
    #[serde(skip_serializing_if = "is_one_by_one")]
    pub dilation_rate: [usize; 2],
    /// Number of groups of channels that are convolved separately; 1 is an ordinary convolution.
    #[serde(skip_serializing_if = "is_one")]
    pub groups: usize,
    /// Whether each filter has a bias.
    pub use_bias: bool,
    /// Function applied to the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<Activation>,
    /// How the weights are drawn before training.
    #[serde(skip_serializing_if = "Initializer::is_default")]
    pub kernel_initializer: Initializer,
}

impl Conv2d {
    /// A convolution with all other settings at their defaults.
    pub const fn of_size(filters: usize, kernel_size: [usize; 2]) -> Self {
        Self {
            filters,
            kernel_size,
            strides: [1, 1],
            padding: Padding::Valid,
            dilation_rate: [1, 1],
            groups: 1,
            use_bias: true,
            activation: None,
            kernel_initializer: Initializer::GlorotUniform,
        }
    }

    /// Returns the height and width that the kernel covers, the gaps of a dilated one included.
    pub fn window(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            (self.kernel_size[axis] - 1)
                .saturating_mul(self.dilation_rate[axis])
                .saturating_add(1)
        })
    }

    /// Computes the zeros around an image of this height and width.
    pub fn pads(&self, size: [usize; 2]) -> Pads {
        self.padding.pads(size, self.window(), self.strides)
    }
}

impl LayerDef for Conv2d {
    const TYPE: &'static str = "conv2d";
    const KEYS: &'static [&'static str] = &[
        "type",
        "name",
        "repeat",
        "filters",
        "kernel_size",
        "strides",
        "padding",
        "dilation_rate",
        "groups",
        "use_bias",
        "activation",
        "kernel_initializer",
    ];
    const HAS_PARAMS: bool = true;

    fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        Ok(Self {
            filters: section.need("filters")?.integer(1..=MAX_COUNT)?,
            kernel_size: section.need("kernel_size")?.pair(1..=MAX_COUNT)?,
            strides: section.pair_or("strides", [1, 1], 1..=MAX_COUNT)?,
            padding: Padding::parse(section)?,
            dilation_rate: section.pair_or("dilation_rate", [1, 1], 1..=MAX_COUNT)?,
            groups: section.integer_or("groups", 1, 1..=MAX_COUNT)?,
            use_bias: section.boolean_or("use_bias", true)?,
            activation: Activation::parse(section)?,
            kernel_initializer: Initializer::parse(section)?,
        })
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        if self.activation == Some(Activation::Softmax) {
            return Err(ShapeError::SoftmaxOfImage);
        }
        let image = Shape::only_image(Self::TYPE, inputs)?;
        let divides = |n: usize| n.is_multiple_of(self.groups);
        if !divides(image.channels) || !divides(self.filters) {
            return Err(ShapeError::Groups {
                groups: self.groups,
                channels: image.channels,
                filters: self.filters,
            });
        }
        if self.strides != [1, 1] && self.dilation_rate != [1, 1] {
            return Err(ShapeError::StridesAndDilation);
        }
        let padded = self.pads(image.size()).around(image.size());
        let [height, width] = positions("kernel", padded, self.window(), self.strides)?;
        Ok(Shape::Image {
            channels: self.filters,
            height,
            width,
        })
    }

    fn params(&self, inputs: &[Shape]) -> Result<Vec<ParamDef>, ShapeError> {
        let ImageShape { channels, .. } = Shape::only_image(Self::TYPE, inputs)?;
        let [height, width] = self.kernel_size;
        let channels = channels / self.groups;
        // Whoever asks for a model refuses sizes that do not fit into memory.
        let window = height.saturating_mul(width);
        let init = self.kernel_initializer.init(
            window.saturating_mul(channels),
            window.saturating_mul(self.filters),
        );
        let shape = [self.filters, channels, height, width];
        let mut params = vec![ParamDef::new(ParamRole::Weight, &shape, init)];
        if self.use_bias {
            params.push(ParamDef::new(ParamRole::Bias, &[self.filters], Init::Zeros));
        }
        Ok(params)
    }

    fn is_softmax(&self) -> bool {
        self.activation == Some(Activation::Softmax)
    }

    fn lower(&self, nodes: &mut Nodes, path: &str, input: usize) -> Option<usize> {
        let shape = nodes.shape(input)?;
        let image = Shape::only_image(Self::TYPE, &[shape]).ok()?;
        let op = Op::Conv(Conv {
            window: window(
                self.kernel_size,
                self.strides,
                self.dilation_rate,
                self.pads(image.size()),
            ),
            groups: self.groups,
        });
        let sum = nodes.add_with(path, op, input, self.params(&[shape]).ok()?)?;
        Activation::lower(self.activation, nodes, path, sum)
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_one(number: &usize) -> bool {
    *number == 1
}

pub(super) fn is_one_by_one(pair: &[usize; 2]) -> bool {
    *pair == [1, 1]
}
