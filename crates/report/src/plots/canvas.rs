//! What plots are drawn with: a surface with one font and text of sizes in pixels, the marks that tell
//! series apart, and their legend.

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

/// Cuts a line through these points where it crosses `top`, and keeps what is below.
pub(super) fn parts_below(line: &[(f64, f64)], top: f64) -> Vec<Vec<(f64, f64)>> {
    let mut parts = vec![Vec::new()];
    let mut before: Option<(f64, f64)> = None;
    for &here in line {
        let value = here.1;
        let crossing = before
            .filter(|(_, before)| (*before > top) != (value > top))
            .map(|before| {
                let share = (top - before.1) / (here.1 - before.1);
                (before.0 + share * (here.0 - before.0), top)
            });
        let inside = (value <= top).then_some(here);
        if let Some(part) = parts.last_mut() {
            part.extend(crossing.into_iter().chain(inside));
        }
        if inside.is_none() {
            parts.push(Vec::new());
        }
        before = Some(here);
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// How a series is drawn: by color and by shape, so that it is known without colors.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// As the first series.
    Training,
    /// As the second series.
    Validation,
    /// One of several series of the same kind, by its index, below [`COUNT`](Self::COUNT).
    Series(usize),
}

/// The palette of Okabe and Ito (2008), made to be told apart by color-blind readers, with a shape
/// for each.
const LOOKS: [(RGBColor, Shape); Mark::COUNT] = [
    (RGBColor(0x00, 0x72, 0xb2), Shape::Disc),
    (RGBColor(0xd5, 0x5e, 0x00), Shape::Square),
    (RGBColor(0x00, 0x9e, 0x73), Shape::Triangle),
    (RGBColor(0xcc, 0x79, 0xa7), Shape::Diamond),
    (RGBColor(0xe6, 0x9f, 0x00), Shape::Wedge),
    (RGBColor(0x56, 0xb4, 0xe9), Shape::Bar),
];

#[derive(Clone, Copy)]
enum Shape {
    Disc,
    Square,
    Triangle,
    Diamond,
    /// A triangle that points down.
    Wedge,
    /// An upright rectangle.
    Bar,
}

impl Mark {
    /// Number of series that can be told apart.
    pub const COUNT: usize = 6;

    pub fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Validation => "validation",
            Self::Series(_) => "",
        }
    }

    const fn look(self) -> (RGBColor, Shape) {
        match self {
            Self::Training => LOOKS[0],
            Self::Validation => LOOKS[1],
            Self::Series(index) => LOOKS[index % Self::COUNT],
        }
    }

    pub const fn color(self) -> RGBColor {
        self.look().0
    }

    pub fn draw(self, area: &Area<'_>, (x, y): (i32, i32)) -> Drawn {
        let (color, shape) = self.look();
        let style = color.filled();
        let polygon = |points: &[(i32, i32)]| {
            let points: Vec<_> = points.iter().map(|(dx, dy)| (x + dx, y + dy)).collect();
            area.draw(&Polygon::new(points, style))
        };
        match shape {
            Shape::Disc => area.draw(&Circle::new((x, y), 4, style)),
            Shape::Square => area.draw(&Rectangle::new([(x - 4, y - 4), (x + 4, y + 4)], style)),
            Shape::Triangle => polygon(&[(0, -5), (5, 4), (-5, 4)]),
            Shape::Diamond => polygon(&[(0, -6), (6, 0), (0, 6), (-6, 0)]),
            Shape::Wedge => polygon(&[(0, 5), (5, -4), (-5, -4)]),
            Shape::Bar => area.draw(&Rectangle::new([(x - 2, y - 6), (x + 2, y + 6)], style)),
        }
    }
}

/// Height in pixels that a plot leaves for its legend.
pub(super) const LEGEND_HEIGHT: i32 = 44;

/// One legend for all panels, centered above them: marks, and `None` for a dashed line.
pub(super) fn legend(root: &Area<'_>, entries: &[(Option<Mark>, String)]) -> Drawn {
    const SWATCH: i32 = 38;
    const GAP: i32 = 28;
    let widths: i32 = entries
        .iter()
        .map(|(_, name)| SWATCH + width(name, TEXT) + GAP)
        .sum();
    let total = widths - GAP;
    let mut x = (root.dim_in_pixel().0 as i32 - total) / 2;
    let y = LEGEND_HEIGHT / 2;
    for (mark, name) in entries {
        match mark {
            Some(mark) => {
                root.draw(&PathElement::new(
                    [(x, y), (x + 30, y)],
                    mark.color().stroke_width(2),
                ))?;
                mark.draw(root, (x + 15, y))?;
            }
            None => dashed(root, (x + 15, y - 10), (x + 15, y + 10))?,
        }
        root.draw_text(
            name,
            &text(TEXT, INK, HPos::Left, VPos::Center),
            (x + SWATCH, y),
        )?;
        x += SWATCH + width(name, TEXT) + GAP;
    }
    Ok(())
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

    #[test]
    fn lines_are_cut_where_they_leave_the_axis() {
        let run = [(1.0, 0.0), (2.0, 4.0), (3.0, 4.0), (4.0, 0.0)];
        let parts = parts_below(&run, 2.0);
        assert_eq!(parts, [[(1.0, 0.0), (1.5, 2.0)], [(3.5, 2.0), (4.0, 0.0)]]);
        assert_eq!(parts_below(&run, 5.0)[0].len(), 4);
        assert!(parts_below(&[(1.0, 9.0)], 5.0).is_empty());
    }
}
