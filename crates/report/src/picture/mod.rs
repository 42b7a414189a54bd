//! Pictures: shapes in drawing order, to be written as SVG or PNG.

mod png;
mod recorder;
mod svg;
#[cfg(test)]
mod tests;

pub(crate) use png::encode;
pub(crate) use recorder::Recorder;

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
    /// Creates a drawing of so many pixels, whose PNG file has `density` times as many along each side.
    pub(crate) fn new([width, height]: [u32; 2], density: u32, shapes: Vec<Shape>) -> Self {
        Self {
            width,
            height,
            density,
            shapes,
        }
    }

    /// Returns the width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Returns the height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Returns whether images are part of it.
    pub fn has_images(&self) -> bool {
        self.shapes
            .iter()
            .any(|shape| matches!(shape, Shape::Image { .. }))
    }

    /// Writes it as an SVG document; the viewer chooses the font.
    pub fn to_svg(&self) -> String {
        svg::write(self)
    }

    /// Draws it as a PNG file. Plots have two pixels for each of the drawing's, so that they are sharp on
    /// paper and on dense screens; letters are those of a font with Latin, Greek and Cyrillic,
    /// others become `?` in a box.
    pub fn to_png(&self) -> Result<Vec<u8>, ReportError> {
        png::write(self)
    }
}

/// Red, green and blue.
pub(crate) type Color = [u8; 3];

/// One thing on a picture.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    Rectangle {
        /// The upper left corner.
        at: [i32; 2],
        /// Width and height.
        size: [u32; 2],
        paint: Paint,
    },
    Circle {
        center: [i32; 2],
        radius: u32,
        paint: Paint,
    },
    /// From point to point.
    Line {
        points: Vec<[i32; 2]>,
        color: Color,
        width: u32,
    },
    /// Filled; its last point is joined to the first.
    Polygon {
        points: Vec<[i32; 2]>,
        color: Color,
    },
    Text(Text),
    /// Pixels, each enlarged to a square.
    Image {
        /// The upper left corner.
        at: [u32; 2],
        /// Pixels of the picture that a pixel of the image takes along each side.
        scale: u32,
        /// Width and height of the image.
        size: [u32; 2],
        /// Red, green and blue of each pixel, row by row.
        pixels: Vec<u8>,
    },
}

/// Style of an area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    Filled(Color),
    /// Its edge, so many pixels wide.
    Outlined(Color, u32),
}

/// A line of text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Text {
    pub line: String,
    /// Where it begins, has its middle or ends.
    pub at: [f32; 2],
    /// How far below that point its baseline is, as a share of its size.
    pub drop: f32,
    pub anchor: Anchor,
    /// Its size in pixels.
    pub size: f32,
    pub color: Color,
    /// Turned by a quarter to the left around `at`.
    pub turned: bool,
}

/// Alignment of a text at its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}
