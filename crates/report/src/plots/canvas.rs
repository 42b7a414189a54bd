//! The drawing surface: one picture, one font, and text of sizes in pixels.

use std::convert::Infallible;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::ReportError;
use crate::picture::{Picture, Recorder};

pub(super) type Area<'a> = DrawingArea<Recorder<'a>, Shift>;
pub(super) type DrawError = DrawingAreaErrorKind<Infallible>;
pub(super) type Drawn = Result<(), DrawError>;

/// Text, axes and frames.
pub(super) const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
/// Marks that are less important than the data.
pub(super) const FAINT: RGBColor = RGBColor(0x8a, 0x8a, 0x8a);
/// Grid lines.
pub(super) const GRID: RGBColor = RGBColor(0xe3, 0xe3, 0xe3);

/// Height in pixels of normal text.
pub(super) const TEXT: f64 = 13.0;

/// Pixels of a PNG file for each of a plot's.
const DENSITY: u32 = 2;

/// Draws a picture of `size` pixels.
pub(super) fn picture(
    size: (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Drawn,
) -> Result<Picture, ReportError> {
    let mut shapes = Vec::new();
    let area = Recorder::new(size.into(), &mut shapes).into_drawing_area();
    let drawn = draw(&area);
    drop(area);
    drawn.map_err(|error| ReportError::Drawing {
        reason: error.to_string(),
    })?;
    Ok(Picture::new(size.into(), DENSITY, shapes))
}

/// Returns the style of text `pixels` high, anchored as given.
pub(super) fn text(
    pixels: f64,
    color: RGBColor,
    horizontal: HPos,
    vertical: VPos,
) -> TextStyle<'static> {
    ("sans-serif", pixels)
        .into_font()
        .color(&color)
        .pos(Pos::new(horizontal, vertical))
}

/// Estimates the width in pixels of text `pixels` high; the viewer chooses the font.
pub(super) fn width(text: &str, pixels: f64) -> i32 {
    let ems: f64 = text
        .chars()
        .map(|c| if c.is_ascii() { 0.62 } else { 1.0 })
        .sum();
    (ems * pixels).ceil() as i32
}

/// Draws a dashed line; the plotting library has none of its own.
pub(super) fn dashed(area: &Area<'_>, from: (i32, i32), to: (i32, i32)) -> Drawn {
    const DASH: f64 = 4.0;
    const PERIOD: usize = 7;
    let (across, down) = (f64::from(to.0 - from.0), f64::from(to.1 - from.1));
    let length = across.hypot(down);
    let at = |way: f64| {
        let share = way.min(length) / length;
        (
            from.0 + (across * share).round() as i32,
            from.1 + (down * share).round() as i32,
        )
    };
    (0..length.ceil() as usize)
        .step_by(PERIOD)
        .try_for_each(|way| {
            area.draw(&PathElement::new(
                [at(way as f64), at(way as f64 + DASH)],
                FAINT,
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_closed_and_escaped() {
        let draw = |area: &Area<'_>| {
            area.draw_text("<a & b>", &text(TEXT, INK, HPos::Left, VPos::Top), (0, 0))
        };
        let document = picture((40, 20), draw).unwrap().to_svg();
        assert!(
            document.starts_with("<svg width=\"40\" height=\"20\""),
            "{document}"
        );
        assert!(document.trim_end().ends_with("</svg>"), "{document}");
        assert!(
            document.contains("font-size=\"13\"") && document.contains(">&lt;a &amp; b&gt;<"),
            "{document}"
        );
    }
}
