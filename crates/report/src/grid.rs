//! Grids of images with a caption below each.

use kiln_util::shown;

use crate::ReportError;
use crate::picture::{Anchor, Picture, Shape, Text, encode};

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
    /// Encodes the picture alone as a PNG file.
    pub fn to_png(&self) -> Result<Vec<u8>, ReportError> {
        encode([self.width, self.height], &self.pixels)
    }
}

/// Arranges tiles row by row in so many columns. Small ones are enlarged by whole factors, so that every
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

/// Pictures are enlarged by whole factors until their longer side has about this many pixels.
const SIDE: u32 = 112;
/// Between tiles and around them.
const GAP: u32 = 12;
/// Between a picture and its caption.
const CAPTION_GAP: u32 = 3;
/// Height of a line of a caption in pixels.
const TEXT: u32 = 16;
/// Depth of letters below the baseline.
const DESCENT: u32 = 4;
/// About how wide a letter of a caption is.
const LETTER: u32 = 7;
/// Most room that a caption has where pictures are narrower: that of a class with its probability.
const CAPTION_WIDTH: u32 = 24 * LETTER;
/// Most pixels in a grid: 64 megapixels.
const MAX_PIXELS: u64 = 1 << 26;

/// A grid of cells of one size, as large as the largest picture and the longest caption need.
struct Layout {
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

/// Position of a tile.
struct Place {
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
        let longest = tiles
            .iter()
            .flat_map(|tile| tile.caption.lines())
            .map(|line| line.chars().count())
            .max()
            .unwrap_or(0);
        let caption_width = (longest as u32)
            .saturating_mul(LETTER)
            .clamp(SIDE / 2, CAPTION_WIDTH);
        let picture = [
            largest(|tile| tile.width).max(caption_width),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(width: u32, height: u32, caption: &str) -> Tile {
        Tile {
            pixels: vec![90; (width * height * 3) as usize],
            width,
            height,
            caption: caption.into(),
        }
    }

    fn png(tiles: &[Tile], columns: usize) -> image::RgbImage {
        image::load_from_memory(&grid(tiles, columns).unwrap().to_png().unwrap())
            .unwrap()
            .into_rgb8()
    }

    #[test]
    fn small_pictures_are_enlarged_by_whole_factors_and_large_ones_are_not() {
        // 28 pixels four times, a gap on either side; below, 3 pixels and a line of text.
        assert_eq!(
            png(&[tile(28, 28, "7")], 1).dimensions(),
            (12 + 112 + 12, 12 + 112 + 3 + 16 + 12)
        );
        assert_eq!(
            png(&[tile(200, 150, "x")], 1).dimensions(),
            (224, 12 + 150 + 3 + 16 + 12)
        );
    }

    #[test]
    fn tiles_fill_rows() {
        let tiles = vec![tile(28, 28, "7"); 5];
        assert_eq!(png(&tiles, 2).dimensions(), (2 * 124 + 12, 3 * 143 + 12));
        assert_eq!(png(&tiles, 100).width(), 5 * 124 + 12);
        // The longest caption makes room for all.
        let taller = [tile(28, 28, "7"), tile(28, 28, "7\nnot 1")];
        assert_eq!(png(&taller, 1).height(), 2 * (143 + 16) + 12);
        assert!(grid(&[], 3).is_ok());
    }

    #[test]
    fn captions_are_drawn_and_cut() {
        let blank = png(&[tile(28, 28, "")], 1);
        for caption in [
            "cat",
            "größe",
            "猫",
            "a caption that is far too long for a tile",
        ] {
            assert!(png(&[tile(28, 28, caption)], 1) != blank, "{caption}");
        }
        let svg = grid(&[tile(28, 28, "<cat> & a dog that has a long name")], 1)
            .unwrap()
            .to_svg();
        assert!(
            svg.contains(">&lt;cat&gt; &amp; a dog that has …</text>"),
            "{svg}"
        );
        // A narrow picture leaves room for a class with its probability.
        let svg = grid(&[tile(3, 112, "longsleeve: 100.00 %")], 1)
            .unwrap()
            .to_svg();
        assert!(svg.contains(">longsleeve: 100.00 %</text>"), "{svg}");
        assert!(svg.contains("href=\"data:image/png;base64,iVBOR"), "{svg}");
    }

    #[test]
    fn what_is_no_picture_or_too_many_is_an_error() {
        let wrong = Tile {
            width: 3,
            ..tile(2, 2, "x")
        };
        assert!(
            grid(&[wrong], 1)
                .unwrap_err()
                .to_string()
                .contains("3x2 pixels has 12 bytes")
        );
        let large = vec![tile(1, 9000, "x"); 200];
        assert!(
            grid(&large, 200)
                .unwrap_err()
                .to_string()
                .contains("draw less in it")
        );
    }
}
