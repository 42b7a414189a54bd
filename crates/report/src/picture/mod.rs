//! Pictures: what is drawn, in order, to be written as SVG or as PNG.

mod letters;
mod png;
mod recorder;
mod shape;
mod svg;

pub(crate) use png::encode;
pub(crate) use recorder::Recorder;
pub(crate) use shape::{Anchor, Color, Paint, Shape, Text};

use crate::ReportError;

/// A drawing on a white ground.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    width: u32,
    height: u32,
    /// Pixels of a PNG file for each pixel of the drawing, along each side.
    density: u32,
    shapes: Vec<Shape>,
}

impl Picture {
    /// A drawing of so many pixels, whose PNG file has `density` times as many along each side.
    pub(crate) fn new([width, height]: [u32; 2], density: u32, shapes: Vec<Shape>) -> Self {
        Self {
            width,
            height,
            density,
            shapes,
        }
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Whether images are part of it.
    pub fn has_images(&self) -> bool {
        self.shapes
            .iter()
            .any(|shape| matches!(shape, Shape::Image { .. }))
    }

    /// As an SVG document; the viewer chooses the font.
    pub fn to_svg(&self) -> String {
        svg::write(self)
    }

    /// As a PNG file. Plots have two pixels for each of the drawing's, so that they are sharp on
    /// paper and on dense screens; letters are those of a font with Latin, Greek and Cyrillic,
    /// others become `?` in a box.
    pub fn to_png(&self) -> Result<Vec<u8>, ReportError> {
        png::write(self)
    }
}

#[cfg(test)]
mod tests;
