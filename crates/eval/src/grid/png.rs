//! A grid as a PNG file.

use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};

use super::Tile;
use super::layout::{Layout, Place};
use super::letters::{WIDTH, raster};
use crate::EvalError;

/// Tiles row by row in so many columns, as a PNG file. Small pictures are enlarged by whole factors, so that every pixel
/// is seen as a square.
pub fn grid_png(tiles: &[Tile], columns: usize) -> Result<Vec<u8>, EvalError> {
    let layout = Layout::new(tiles, columns)?;
    let mut picture = RgbImage::from_pixel(layout.width, layout.height, Rgb([255; 3]));
    for (number, tile) in tiles.iter().enumerate() {
        let place = layout.place(number, tile);
        draw_pixels(&mut picture, tile, &place);
        draw_text(&mut picture, &place);
    }
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, ImageFormat::Png).map_err(|error| EvalError::Drawing { reason: error.to_string() })?;
    Ok(file.into_inner())
}

fn draw_pixels(picture: &mut RgbImage, tile: &Tile, place: &Place) {
    let ([left, top], scale) = (place.at, place.scale);
    for y in 0..tile.height * scale {
        for x in 0..tile.width * scale {
            let at = ((y / scale * tile.width + x / scale) * 3) as usize;
            let [r, g, b] = [0, 1, 2].map(|channel| tile.pixels[at + channel]);
            picture.put_pixel(left + x, top + y, Rgb([r, g, b]));
        }
    }
}

fn draw_text(picture: &mut RgbImage, place: &Place) {
    let [left, top] = place.text_at;
    for (letter, start) in place.text.chars().zip((left..).step_by(WIDTH as usize)) {
        for (x, y, ink) in raster(letter) {
            picture.put_pixel(start + x, top + y, Rgb([255 - ink; 3]));
        }
    }
}
