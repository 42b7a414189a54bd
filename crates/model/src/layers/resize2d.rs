//! Images of another size.

use serde::Serialize;

use super::def::LayerDef;
use crate::document::{RecipeError, Section};
use crate::{Preprocessing, Shape, ShapeError};

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
    const KEYS: &'static [&'static str] = &["type", "name", "height", "width", "interpolation"];

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
}
