//! The drawing surface: one SVG document, one font, and text of sizes in pixels.

use std::io;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::EvalError;

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;

/// Text, axes and frames.
pub(super) const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
/// Marks that stand behind the data.
pub(super) const FAINT: RGBColor = RGBColor(0x8a, 0x8a, 0x8a);
/// Grid lines.
pub(super) const GRID: RGBColor = RGBColor(0xe3, 0xe3, 0xe3);

/// Height in pixels of ordinary text.
pub(super) const TEXT: f64 = 13.0;

/// Draws on a white ground of `size` pixels and returns the SVG document.
pub(super) fn svg(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn) -> Result<String, EvalError> {
    let mut document = String::new();
    let area = SVGBackend::with_string(&mut document, size).into_drawing_area();
    let drawn = area.fill(&WHITE).and_then(|()| draw(&area)).and_then(|()| area.present());
    drop(area);
    drawn.map_err(|error| EvalError::Drawing { reason: error.to_string() })?;
    Ok(document)
}

/// The style of text `pixels` high, anchored as told.
pub(super) fn text(pixels: f64, color: RGBColor, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    // The SVG backend divides sizes by 1.24 (a quirk it shares with the bitmap backend's font metrics).
    ("sans-serif", pixels * 1.24).into_font().color(&color).pos(Pos::new(horizontal, vertical))
}

/// About how wide text `pixels` high will be, in pixels. The viewer chooses the font, so nobody knows exactly.
pub(super) fn width(text: &str, pixels: f64) -> i32 {
    let ems: f64 = text.chars().map(|c| if c.is_ascii() { 0.62 } else { 1.0 }).sum();
    (ems * pixels).ceil() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_closed_and_escaped() {
        let document = svg((40, 20), |area| area.draw_text("<a & b>", &text(TEXT, INK, HPos::Left, VPos::Top), (0, 0)));
        let document = document.unwrap();
        assert!(document.starts_with("<svg width=\"40\" height=\"20\""), "{document}");
        assert!(document.trim_end().ends_with("</svg>"), "{document}");
        assert!(document.contains("font-size=\"13") && document.contains("&lt;a &amp; b&gt;"), "{document}");
    }
}
