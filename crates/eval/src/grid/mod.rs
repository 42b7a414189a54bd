//! Grids of images with a caption below each, as PNG and as SVG.

mod layout;
mod letters;
mod png;
mod svg;

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

#[cfg(test)]
mod tests;
