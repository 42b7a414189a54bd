//! Where in a grid everything is.

use super::Tile;
use super::letters::{HEIGHT as TEXT, WIDTH as LETTER};
use crate::EvalError;
use crate::text::shown;

/// Pictures are enlarged by whole factors until their longer side has about this many pixels.
const SIDE: u32 = 112;
/// Between tiles and around them.
const GAP: u32 = 12;
/// Between a picture and its caption.
const CAPTION_GAP: u32 = 3;
/// Most pixels in a grid's picture: 64 megapixels, 192 MB.
const MAX_PIXELS: u64 = 1 << 26;

/// A grid of cells of one size, as large as the largest picture needs.
pub(super) struct Layout {
    pub width: u32,
    pub height: u32,
    columns: u32,
    /// Room for a picture.
    picture: [u32; 2],
    /// The letters that fit below one.
    letters: usize,
}

/// A tile's place.
pub(super) struct Place {
    /// Left and top of the picture.
    pub at: [u32; 2],
    /// Pixels of the grid that a pixel of the picture takes along each side.
    pub scale: u32,
    /// Left and top of the caption.
    pub text_at: [u32; 2],
    pub text: String,
}

impl Layout {
    /// The layout of tiles, row by row, in so many columns.
    pub fn new(tiles: &[Tile], columns: usize) -> Result<Self, EvalError> {
        let fits = |tile: &&Tile| u64::from(tile.width) * u64::from(tile.height) * 3 == tile.pixels.len() as u64;
        if let Some(tile) = tiles.iter().find(|tile| !fits(tile) || tile.pixels.is_empty()) {
            return Err(EvalError::Tile { width: tile.width, height: tile.height, found: tile.pixels.len() });
        }
        let columns = columns.clamp(1, tiles.len().max(1)) as u32;
        let rows = (tiles.len() as u32).div_ceil(columns);
        let largest = |side: fn(&Tile) -> u32| tiles.iter().map(|tile| side(tile) * scale(tile)).max().unwrap_or(SIDE);
        let picture = [largest(|tile| tile.width).max(SIDE / 2), largest(|tile| tile.height)];
        let side = |cells: u32, cell: u32| u64::from(cells) * u64::from(cell + GAP) + u64::from(GAP);
        let (width, height) = (side(columns, picture[0]), side(rows, picture[1] + CAPTION_GAP + TEXT));
        if width * height > MAX_PIXELS {
            return Err(EvalError::GridSize { width, height, max: MAX_PIXELS });
        }
        let letters = (picture[0] / LETTER) as usize;
        Ok(Self { width: width as u32, height: height as u32, columns, picture, letters })
    }

    /// The place of a tile, by its number.
    pub fn place(&self, number: usize, tile: &Tile) -> Place {
        let [width, height] = self.picture;
        let (column, row) = (number as u32 % self.columns, number as u32 / self.columns);
        let [left, top] = [GAP + column * (width + GAP), GAP + row * (height + CAPTION_GAP + TEXT + GAP)];
        let text = shown(&tile.caption, self.letters);
        let scale = scale(tile);
        let text_width = text.chars().count() as u32 * LETTER;
        Place {
            // In the middle of the cell, upon its caption.
            at: [left + (width - tile.width * scale) / 2, top + height - tile.height * scale],
            scale,
            text_at: [left + (width - text_width.min(width)) / 2, top + height + CAPTION_GAP],
            text,
        }
    }
}

fn scale(tile: &Tile) -> u32 {
    (SIDE / tile.width.max(tile.height).max(1)).max(1)
}
