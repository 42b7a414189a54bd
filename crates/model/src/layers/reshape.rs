//! Layers that give an image or a vector another shape or size, without parameters.

use serde::Serialize;

use super::def::LayerDef;
use super::nodes::Nodes;
use crate::document::{MAX_COUNT, RecipeError, Section};
use crate::graph::{Dims, Op};
use crate::{Preprocessing, Shape, ShapeError};

/// Image to vector, in ONNX order (channels, height, width).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Flatten {}

impl LayerDef for Flatten {
    const TYPE: &'static str = "flatten";
    const KEYS: &'static [&'static str] = &["type", "name", "repeat"];

    fn parse(_: &Section<'_>) -> Result<Self, RecipeError> {
        Ok(Self {})
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Shape::only(inputs).map(|input| Shape::Vector(input.len()))
    }

    fn lower(&self, nodes: &mut Nodes, path: &str, input: usize) -> Option<usize> {
        nodes.add_to(path, Op::Flatten { axis: 1 }, input)
    }
}

/// Other dimensions for the same values, in ONNX order: three make an image, one a vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Reshape {
    /// Shape of one output sample.
    pub target_shape: Shape,
}

impl Serialize for Reshape {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        let mut table = serializer.serialize_struct("Reshape", 1)?;
        table.serialize_field("target_shape", &self.target_shape.dims())?;
        table.end()
    }
}

impl LayerDef for Reshape {
    const TYPE: &'static str = "reshape";
    const KEYS: &'static [&'static str] = &["type", "name", "repeat", "target_shape"];

    fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        let field = section.need("target_shape")?;
        let dims = field.array()?;
        let dims = dims
            .iter()
            .map(|dim| dim.integer(1..=MAX_COUNT))
            .collect::<Result<Vec<_>, _>>()?;
        let target_shape = match dims[..] {
            [channels, height, width] => Shape::Image {
                channels,
                height,
                width,
            },
            [features] => Shape::Vector(features),
            _ => {
                return Err(field.error(
                    "target_shape is [channels, height, width] or [features]: give three numbers or one",
                ));
            }
        };
        Ok(Self { target_shape })
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let input = Shape::only(inputs)?;
        let product = self
            .target_shape
            .dims()
            .iter()
            .try_fold(1_usize, |product, &dim| product.checked_mul(dim));
        if product == Some(input.len()) {
            Ok(self.target_shape)
        } else {
            Err(ShapeError::ValueCount {
                input,
                output: self.target_shape,
            })
        }
    }

    fn lower(&self, nodes: &mut Nodes, path: &str, input: usize) -> Option<usize> {
        let dims = Dims::batched(self.target_shape.dims()).sizes().to_vec();
        nodes.add_to(path, Op::Reshape { dims }, input)
    }
}

/// An image of another size. Pixels are areas, with their centers at half coordinates.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Resize2d {
    /// Number of rows of the result.
    pub height: usize,
    /// Number of columns of the result.
    pub width: usize,
    /// How values between pixels are computed.
    pub interpolation: Interpolation,
}

/// How values between pixels are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpolation {
    /// The value of the pixel in whose area the point lies.
    Nearest,
    /// Linear interpolation between the four pixels around the point.
    Bilinear,
}

kiln_util::str_enum!(Interpolation: Serialize { Nearest = "nearest", Bilinear = "bilinear" });

impl LayerDef for Resize2d {
    const TYPE: &'static str = "resize";
    const KEYS: &'static [&'static str] =
        &["type", "name", "repeat", "height", "width", "interpolation"];

    fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        let side = 1..=i64::from(Preprocessing::MAX_SIDE);
        Ok(Self {
            height: section.need("height")?.integer(side.clone())?,
            width: section.need("width")?.integer(side)?,
            interpolation: section.choice_or(
                "interpolation",
                Interpolation::Bilinear,
                &Interpolation::WORDS,
            )?,
        })
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Shape::only_image(Self::TYPE, inputs).map(|image| Shape::Image {
            channels: image.channels,
            height: self.height,
            width: self.width,
        })
    }

    fn lower(&self, _: &mut Nodes, _: &str, _: usize) -> Option<usize> {
        None
    }
}
