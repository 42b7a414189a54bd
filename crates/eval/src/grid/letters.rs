//! Text as pixels.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

const SIZE: RasterHeight = RasterHeight::Size16;

/// Height of a line in pixels.
pub(super) const HEIGHT: u32 = 16;

/// Width of every letter in pixels.
pub(super) const WIDTH: u32 = get_raster_width(FontWeight::Regular, SIZE) as u32;

/// How dark each pixel of a letter is, 0 to 255, row by row; the replacement character for those that the font lacks.
pub(super) fn raster(letter: char) -> impl Iterator<Item = (u32, u32, u8)> {
    let glyph = |letter| get_raster(letter, FontWeight::Regular, SIZE);
    let rows = glyph(letter).or_else(|| glyph('\u{fffd}')).into_iter().flat_map(|glyph| glyph.rows());
    rows.zip(0..).flat_map(|(row, y)| row.iter().zip(0..).map(move |(&ink, x)| (x, y, ink)))
}
