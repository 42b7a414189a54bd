//! The line of entries above a plot.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Area, Drawn, INK, TEXT, dashed, text, width};
use super::mark::Mark;

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
