//! Grids of images with a caption below each.

mod layout;

use crate::ReportError;
use crate::picture::{Anchor, Picture, Shape, Text, encode};
use layout::{Layout, Place};

/// Size of the captions' letters in pixels.
const LETTERS: f32 = 12.0;

/// A small picture with text below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// Red, green and blue of each pixel, row by row from the top.
    pub pixels: Vec<u8>,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The text, each line of it cut where it is too long.
    pub caption: String,
}

impl Tile {
    /// The picture alone as a PNG file.
    pub fn to_png(&self) -> Result<Vec<u8>, ReportError> {
        encode([self.width, self.height], &self.pixels)
    }
}

/// Tiles row by row in so many columns. Small ones are enlarged by whole factors, so that every
/// pixel is seen as a square.
pub fn grid(tiles: &[Tile], columns: usize) -> Result<Picture, ReportError> {
    let layout = Layout::new(tiles, columns)?;
    let mut shapes = Vec::new();
    for (number, tile) in tiles.iter().enumerate() {
        let Place { at, scale, lines } = layout.place(number, tile);
        shapes.push(Shape::Image {
            at,
            scale,
            size: [tile.width, tile.height],
            pixels: tile.pixels.clone(),
        });
        shapes.extend(lines.into_iter().map(|([x, y], line)| {
            let (at, anchor) = ([x as f32, y as f32], Anchor::Middle);
            Shape::Text(Text {
                line,
                at,
                drop: 0.0,
                anchor,
                size: LETTERS,
                color: [0; 3],
                turned: false,
            })
        }));
    }
    Ok(Picture::new([layout.width, layout.height], 1, shapes))
}

#[cfg(test)]
mod tests;
