//! Several runs by one metric: a row of points for each, on a common axis.

use std::ops::RangeInclusive;

use plotters::coord::ranged1d::Ranged;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::axes::{Axis, Ticks, roomy};
use super::canvas::{Area, Drawn, FAINT, GRID, INK, Mark, TEXT, picture, text, width};
use crate::{Picture, ReportError};
use kiln_metrics::Spread;
use kiln_util::shown;

/// Longest label of a row, in characters.
const MAX_LABEL: usize = 36;
/// Width of the axis.
const AXIS: i32 = 360;
const ROW: i32 = 30;
const LEGEND_HEIGHT: i32 = 40;
const AXIS_HEIGHT: i32 = 54;
const MARGIN: i32 = 20;

/// Runs to compare.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison<'a> {
    /// Label of the axis, such as `test accuracy, %`.
    pub axis: &'a str,
    /// Values that it can have: no ticks outside.
    pub possible: RangeInclusive<f64>,
    /// Source of the reference figures, if there are any.
    pub reference: Option<&'a str>,
    /// From top to bottom.
    pub rows: &'a [Compared],
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// Name of the row.
    pub label: String,
    /// Measured values: one value, or one per repetition. Those that are not finite are left out.
    pub values: Vec<f64>,
    /// Value that others measured.
    pub reference: Option<f64>,
}

impl Compared {
    fn finite(&self) -> Vec<f64> {
        self.values
            .iter()
            .copied()
            .filter(|value| drawable(*value))
            .collect()
    }

    fn reference(&self) -> Option<f64> {
        self.reference.filter(|value| drawable(*value))
    }
}

/// Larger ones would overflow the axis's arithmetic.
fn drawable(value: f64) -> bool {
    value.abs() <= f64::from(f32::MAX)
}

/// Draws points on a common axis, one row per label; of several values also the mean and a line from the
/// smallest to the largest, and reference figures as diamonds.
pub fn plot_comparison(comparison: &Comparison<'_>) -> Result<Picture, ReportError> {
    if comparison.rows.is_empty() {
        return Err(ReportError::Empty {
            what: "rows to compare",
        });
    }
    let plot = Plot::new(comparison);
    let size = (plot.right + MARGIN, plot.bottom() + AXIS_HEIGHT);
    picture((size.0 as u32, size.1 as u32), |root| {
        plot.draw_legend(root)?;
        plot.draw_axis(root)?;
        plot.rows
            .iter()
            .enumerate()
            .try_for_each(|(at, row)| plot.draw_row(root, at as i32, row))
    })
}

/// Layout in pixels.
struct Plot<'a> {
    name: &'a str,
    rows: &'a [Compared],
    reference: Option<&'a str>,
    repeated: bool,
    axis: Axis,
    left: i32,
    right: i32,
}

impl<'a> Plot<'a> {
    fn new(comparison: &Comparison<'a>) -> Self {
        let rows = comparison.rows;
        let values = rows
            .iter()
            .flat_map(|row| row.finite().into_iter().chain(row.reference()));
        // A thousandth of an accuracy is ten images of ten thousand, and worth seeing.
        let range = roomy(values, 1e-3);
        let mut ticks = Ticks::new(range.start, range.end, 6);
        ticks.at.retain(|tick| comparison.possible.contains(tick));
        let labels = rows
            .iter()
            .map(|row| width(&shown(&row.label, MAX_LABEL), TEXT))
            .max()
            .unwrap_or(0);
        let left = labels + 16;
        Self {
            name: comparison.axis,
            rows,
            reference: comparison
                .reference
                .filter(|_| rows.iter().any(|row| row.reference().is_some())),
            repeated: rows.iter().any(|row| row.finite().len() > 1),
            axis: Axis { range, ticks },
            left,
            right: left + AXIS,
        }
    }

    fn bottom(&self) -> i32 {
        LEGEND_HEIGHT + ROW * self.rows.len() as i32
    }

    fn x(&self, value: f64) -> i32 {
        self.axis.map(&value, (self.left, self.right))
    }

    fn draw_axis(&self, root: &Area<'_>) -> Drawn {
        let bottom = self.bottom();
        for &tick in &self.axis.ticks.at {
            let x = self.x(tick);
            root.draw(&PathElement::new([(x, LEGEND_HEIGHT), (x, bottom)], GRID))?;
            let label = self.axis.ticks.label(tick);
            root.draw_text(
                &label,
                &text(TEXT, INK, HPos::Center, VPos::Top),
                (x, bottom + 8),
            )?;
        }
        root.draw(&PathElement::new(
            [(self.left, bottom), (self.right, bottom)],
            INK,
        ))?;
        let middle = (
            i32::midpoint(self.left, self.right),
            bottom + AXIS_HEIGHT - 12,
        );
        root.draw_text(
            self.name,
            &text(TEXT + 1.0, INK, HPos::Center, VPos::Center),
            middle,
        )
    }

    fn draw_row(&self, root: &Area<'_>, at: i32, row: &Compared) -> Drawn {
        let y = LEGEND_HEIGHT + ROW * at + ROW / 2;
        let label = shown(&row.label, MAX_LABEL);
        root.draw_text(
            &label,
            &text(TEXT, INK, HPos::Right, VPos::Center),
            (self.left - 12, y),
        )?;
        let values = row.finite();
        if let Some(reference) = row.reference().filter(|_| self.reference.is_some()) {
            diamond(root, (self.x(reference), y))?;
        }
        let Some(spread) = Spread::of(&values) else {
            let nothing = text(TEXT, FAINT, HPos::Left, VPos::Center);
            return root.draw_text("no result", &nothing, (self.left + 8, y));
        };
        if values.len() > 1 {
            let ends = [(self.x(spread.min), y), (self.x(spread.max), y)];
            root.draw(&PathElement::new(
                ends,
                Mark::Training.color().stroke_width(1),
            ))?;
            mean(root, (self.x(spread.mean), y))?;
        }
        values
            .iter()
            .try_for_each(|&value| Mark::Training.draw(root, (self.x(value), y)))
    }

    fn draw_legend(&self, root: &Area<'_>) -> Drawn {
        type Symbol = fn(&Area<'_>, (i32, i32)) -> Drawn;
        let own: Symbol = |root, at| Mark::Training.draw(root, at);
        let run = if self.repeated { "one run" } else { "kiln" };
        let entries = [
            Some((own, run)),
            self.repeated.then_some((mean as Symbol, "mean")),
            self.reference.map(|name| (diamond as Symbol, name)),
        ];
        let y = LEGEND_HEIGHT / 2;
        let mut x = self.left + 6;
        for (symbol, name) in entries.into_iter().flatten() {
            let name = shown(name, MAX_LABEL);
            symbol(root, (x, y))?;
            root.draw_text(
                &name,
                &text(TEXT, INK, HPos::Left, VPos::Center),
                (x + 14, y),
            )?;
            x += 14 + width(&name, TEXT) + 24;
        }
        Ok(())
    }
}

/// Draws the mean of several runs: an upright stroke.
fn mean(root: &Area<'_>, (x, y): (i32, i32)) -> Drawn {
    root.draw(&PathElement::new(
        [(x, y - 9), (x, y + 9)],
        Mark::Training.color().stroke_width(3),
    ))
}

/// Draws a reference figure: a hollow diamond, so that a point below it is seen.
fn diamond(root: &Area<'_>, (x, y): (i32, i32)) -> Drawn {
    let corners = [
        (x, y - 8),
        (x + 7, y),
        (x, y + 8),
        (x - 7, y),
        (x, y - 8),
        (x + 7, y),
    ];
    root.draw(&PathElement::new(
        corners,
        Mark::Validation.color().stroke_width(2),
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn draw(rows: &[Compared], reference: Option<&str>) -> String {
        let comparison = Comparison {
            axis: "test accuracy, %",
            possible: 0.0..=100.0,
            reference,
            rows,
        };
        plot_comparison(&comparison).unwrap().to_svg()
    }

    fn row(values: &[f64], reference: Option<f64>) -> Compared {
        Compared {
            label: "<3x3>".into(),
            values: values.to_vec(),
            reference,
        }
    }

    #[test]
    fn every_value_is_a_point_and_every_reference_a_diamond() {
        let rows = [row(&[98.9], Some(99.2)), row(&[99.1], None), row(&[], None)];
        let document = draw(&rows, Some("the report"));
        // One more of each in the legend.
        assert_eq!(document.matches("<circle").count(), 3);
        assert_eq!(document.matches("#D55E00").count(), 2, "{document}");
        assert_eq!(document.matches("no result").count(), 1);
        assert!(
            document.contains("&lt;3x3&gt;")
                && document.contains("the report")
                && !document.contains("mean")
        );
        assert!(!draw(&rows, None).contains("#D55E00"));
    }

    #[test]
    fn repetitions_have_a_mean() {
        let document = draw(&[row(&[98.9, 99.0, f64::NAN], None)], None);
        assert_eq!(document.matches("<circle").count(), 3);
        assert!(
            document.contains("mean") && document.contains("one run") && !document.contains("NaN")
        );
    }

    #[test]
    fn nothing_to_compare_is_an_error() {
        let nothing = Comparison {
            axis: "",
            possible: 0.0..=1.0,
            reference: None,
            rows: &[],
        };
        assert_eq!(
            plot_comparison(&nothing),
            Err(ReportError::Empty {
                what: "rows to compare"
            })
        );
    }

    proptest! {
        #[test]
        fn any_values_can_be_drawn(values in prop::collection::vec(any::<f64>(), 0..6), reference: Option<f64>) {
            let document = draw(&[row(&values, reference)], Some("r"));
            prop_assert!(document.trim_end().ends_with("</svg>"));
        }
    }
}
