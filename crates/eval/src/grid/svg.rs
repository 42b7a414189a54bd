//! A grid as an SVG document.

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::Tile;
use super::layout::Layout;
use super::letters::{HEIGHT, WIDTH};
use crate::EvalError;

/// Tiles row by row in so many columns, as an SVG document that has the pictures within it.
pub fn grid_svg(tiles: &[Tile], columns: usize) -> Result<String, EvalError> {
    let layout = Layout::new(tiles, columns)?;
    let (width, height) = (layout.width, layout.height);
    let mut svg = format!(
        "<svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" xmlns=\"http://www.w3.org/2000/svg\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    for (number, tile) in tiles.iter().enumerate() {
        let place = layout.place(number, tile);
        let [[x, y], [_, text_y]] = [place.at, place.text_at];
        let (width, height) = (tile.width * place.scale, tile.height * place.scale);
        let data = BASE64_STANDARD.encode(tile.to_png()?);
        let (middle, baseline) = (x + width / 2, text_y + HEIGHT - 4);
        // Writing to a `String` cannot fail.
        let _ = write!(
            svg,
            "<image x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" image-rendering=\"pixelated\" \
             href=\"data:image/png;base64,{data}\"/>\n<text x=\"{middle}\" y=\"{baseline}\" text-anchor=\"middle\" \
             font-family=\"monospace\" font-size=\"{}\" fill=\"#000000\">{}</text>\n",
            // A letter of a monospaced font is about 0.6 of its size wide.
            WIDTH * 10 / 6,
            escaped(&place.text)
        );
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
