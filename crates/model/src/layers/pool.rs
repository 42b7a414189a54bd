//! Pooling: over windows, over whole channels, and over channels.

use serde::Serialize;

use super::def::LayerDef;
use super::padding::{Padding, Pads, positions};
use crate::document::{MAX_COUNT, RecipeError, Section};
use crate::{Shape, ShapeError};

/// Settings of a pooling over windows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pool {
    /// Height and width of the window.
    pub pool_size: [usize; 2],
    /// Step in height and width.
    pub strides: [usize; 2],
    /// Whether windows may reach over the edge, where pixels outside of the image are ignored; else
    /// windows that do not fit are left out.
    #[serde(skip_serializing_if = "Padding::is_valid")]
    pub padding: Padding,
}

impl Pool {
    const KEYS: &'static [&'static str] = &["type", "name", "pool_size", "strides", "padding"];

    /// Computes the rows and columns that the windows reach over an image of this height and width.
    pub fn pads(&self, size: [usize; 2]) -> Pads {
        self.padding.pads(size, self.pool_size, self.strides)
    }

    fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        let pool_size = section.pair_or("pool_size", [2, 2], 1..=MAX_COUNT)?;
        Ok(Self {
            pool_size,
            strides: section.pair_or("strides", pool_size, 1..=MAX_COUNT)?,
            padding: Padding::parse(section)?,
        })
    }

    fn output(&self, layer: &'static str, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let image = Shape::only_image(layer, inputs)?;
        let padded = self.pads(image.size()).around(image.size());
        let [height, width] = positions("window", padded, self.pool_size, self.strides)?;
        Ok(Shape::Image {
            channels: image.channels,
            height,
            width,
        })
    }
}

/// Maximum over windows of each channel.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct MaxPool(pub Pool);

impl LayerDef for MaxPool {
    const TYPE: &'static str = "max_pool";
    const KEYS: &'static [&'static str] = Pool::KEYS;

    fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        Pool::parse(section).map(Self)
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        self.0.output(Self::TYPE, inputs)
    }
}

/// Mean over windows of each channel.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct AvgPool(pub Pool);

impl LayerDef for AvgPool {
    const TYPE: &'static str = "avg_pool";
    const KEYS: &'static [&'static str] = Pool::KEYS;

    fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        Pool::parse(section).map(Self)
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        self.0.output(Self::TYPE, inputs)
    }
}

/// Maximum of each channel: image to vector.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GlobalMaxPool {}

impl LayerDef for GlobalMaxPool {
    const TYPE: &'static str = "global_max_pool";
    const KEYS: &'static [&'static str] = &["type", "name"];

    fn parse(_: &Section<'_>) -> Result<Self, RecipeError> {
        Ok(Self {})
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Shape::only_image(Self::TYPE, inputs).map(|image| Shape::Vector(image.channels))
    }
}

/// Mean of each channel: image to vector.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GlobalAvgPool {}

impl LayerDef for GlobalAvgPool {
    const TYPE: &'static str = "global_avg_pool";
    const KEYS: &'static [&'static str] = &["type", "name"];

    fn parse(_: &Section<'_>) -> Result<Self, RecipeError> {
        Ok(Self {})
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Shape::only_image(Self::TYPE, inputs).map(|image| Shape::Vector(image.channels))
    }
}

/// Maximum over the channels at each pixel: an image of one channel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChannelMax {}

impl LayerDef for ChannelMax {
    const TYPE: &'static str = "channel_max";
    const KEYS: &'static [&'static str] = &["type", "name"];

    fn parse(_: &Section<'_>) -> Result<Self, RecipeError> {
        Ok(Self {})
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Shape::only_image(Self::TYPE, inputs).map(|image| Shape::Image {
            channels: 1,
            height: image.height,
            width: image.width,
        })
    }
}
