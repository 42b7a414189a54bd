//! Where in a grid everything is.

use super::Tile;
use crate::ReportError;
use kiln_util::shown;

/// Pictures are enlarged by whole factors until their longer side has about this many pixels.
const SIDE: u32 = 112;
/// Between tiles and around them.
const GAP: u32 = 12;
/// Between a picture and its caption.
const CAPTION_GAP: u32 = 3;
/// Height of a line of a caption in pixels.
const TEXT: u32 = 16;
/// How far below the baseline letters reach.
const DESCENT: u32 = 4;
/// About how wide a letter of a caption is.
const LETTER: u32 = 7;
/// Most pixels in a grid: 64 megapixels.
const MAX_PIXELS: u64 = 1 << 26;

/// A grid of cells of one size, as large as the largest picture needs.
pub(super) struct Layout {
    pub width: u32,
    pub height: u32,
    columns: u32,
    /// Room for a picture.
    picture: [u32; 2],
    /// Room for a caption.
    caption: u32,
    /// The letters that fit below one.
    letters: usize,
}

/// A tile's place.
pub(super) struct Place {
    /// Left and top of the picture.
    pub at: [u32; 2],
    /// Pixels of the grid that a pixel of the picture takes along each side.
    pub scale: u32,
    /// The caption's lines, each with its middle, on its baseline.
    pub lines: Vec<([u32; 2], String)>,
}

impl Layout {
    /// The layout of tiles, row by row, in so many columns.
    pub fn new(tiles: &[Tile], columns: usize) -> Result<Self, ReportError> {
        let fits = |tile: &&Tile| {
            u64::from(tile.width) * u64::from(tile.height) * 3 == tile.pixels.len() as u64
        };
        if let Some(tile) = tiles
            .iter()
            .find(|tile| !fits(tile) || tile.pixels.is_empty())
        {
            return Err(ReportError::Tile {
                width: tile.width,
                height: tile.height,
                found: tile.pixels.len(),
            });
        }
        let columns = columns.clamp(1, tiles.len().max(1)) as u32;
        let rows = (tiles.len() as u32).div_ceil(columns);
        let largest = |side: fn(&Tile) -> u32| {
            tiles
                .iter()
                .map(|tile| side(tile) * scale(tile))
                .max()
                .unwrap_or(SIDE)
        };
        let picture = [
            largest(|tile| tile.width).max(SIDE / 2),
            largest(|tile| tile.height),
        ];
        let lines = tiles
            .iter()
            .map(|tile| tile.caption.lines().count())
            .max()
            .unwrap_or(0)
            .max(1);
        let caption = CAPTION_GAP + TEXT * lines as u32;
        let side =
            |cells: u32, cell: u32| u64::from(cells) * u64::from(cell + GAP) + u64::from(GAP);
        let (width, height) = (side(columns, picture[0]), side(rows, picture[1] + caption));
        if width * height > MAX_PIXELS {
            return Err(ReportError::PictureSize {
                width,
                height,
                max: MAX_PIXELS,
            });
        }
        let letters = (picture[0] / LETTER) as usize;
        Ok(Self {
            width: width as u32,
            height: height as u32,
            columns,
            picture,
            caption,
            letters,
        })
    }

    /// The place of a tile, by its number.
    pub fn place(&self, number: usize, tile: &Tile) -> Place {
        let [width, height] = self.picture;
        let (column, row) = (number as u32 % self.columns, number as u32 / self.columns);
        let [left, top] = [
            GAP + column * (width + GAP),
            GAP + row * (height + self.caption + GAP),
        ];
        let below = (top + height + CAPTION_GAP + TEXT - DESCENT..).step_by(TEXT as usize);
        let lines = tile.caption.lines().zip(below);
        let scale = scale(tile);
        Place {
            // In the middle of the cell, upon its caption.
            at: [
                left + (width - tile.width * scale) / 2,
                top + height - tile.height * scale,
            ],
            scale,
            lines: lines
                .map(|(line, y)| ([left + width / 2, y], shown(line, self.letters)))
                .collect(),
        }
    }
}

fn scale(tile: &Tile) -> u32 {
    (SIDE / tile.width.max(tile.height).max(1)).max(1)
}
