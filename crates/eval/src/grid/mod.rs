//! Grids of images with a caption below each, as PNG and as SVG.

mod layout;
mod letters;
mod png;
mod svg;

use std::io::Cursor;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use crate::EvalError;
pub use png::grid_png;
pub use svg::grid_svg;

/// A small picture with a line of text below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// Red, green and blue of each pixel, row by row from the top.
    pub pixels: Vec<u8>,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The text; cut where it is too long.
    pub caption: String,
}

impl Tile {
    /// The picture alone as a PNG file.
    pub fn to_png(&self) -> Result<Vec<u8>, EvalError> {
        let mut file = Cursor::new(Vec::new());
        PngEncoder::new(&mut file)
            .write_image(&self.pixels, self.width, self.height, ExtendedColorType::Rgb8)
            .map_err(|error| EvalError::Drawing { reason: error.to_string() })?;
        Ok(file.into_inner())
    }
}

#[cfg(test)]
mod tests;
