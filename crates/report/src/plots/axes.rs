//! The two axes of a panel with their names, labels and grid.

use plotters::coord::ranged1d::{BoldPoints, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Area, DrawError, GRID, INK, TEXT, text, width};
use crate::picture::Recorder;

/// Draws the axes, each with its name; those of `y` get as much room as the widest label takes.
pub(super) fn axes<'a, 'b, X, Y>(
    area: &'a Area<'b>,
    (x, x_name): (X, &str),
    (y, y_name): (Y, &str),
) -> Result<ChartContext<'a, Recorder<'b>, Cartesian2d<X, Y>>, DrawError>
where
    X: Ranged<ValueType = f64, FormatOption = NoDefaultFormatting> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64, FormatOption = NoDefaultFormatting> + ValueFormatter<f64>,
{
    // However many there may be: the axes have ticks of their own choice.
    let ticks = y.key_points(BoldPoints(usize::MAX));
    let widest = ticks
        .iter()
        .map(|tick| width(&y.format_ext(tick), TEXT))
        .max()
        .unwrap_or(0);
    let mut chart = ChartBuilder::on(area)
        .margin_left(8)
        .margin_right(16)
        .margin_bottom(8)
        .x_label_area_size(46)
        .y_label_area_size(widest + 34)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style(text(TEXT, INK, HPos::Center, VPos::Center))
        .axis_desc_style(text(TEXT + 1.0, INK, HPos::Center, VPos::Center))
        .x_desc(x_name)
        .y_desc(y_name)
        .draw()?;
    Ok(chart)
}
