//! One panel of training curves: a metric by epoch.

use std::ops::{Range, RangeInclusive};

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::axes::axes;
use super::axis::{Axis, roomy};
use super::canvas::{Area, Drawn, FAINT, TEXT, dashed, text};
use super::mark::Mark;
use super::ticks::Ticks;

/// More epochs than this are drawn as lines without markers.
const MAX_MARKERS: usize = 40;

/// A metric's values by epoch; `None` where there is none that can be drawn.
pub(super) type Points = Vec<(u32, Option<f64>)>;

/// What the panel shows.
pub(super) struct Panel<'a> {
    /// The metric's name.
    pub name: &'a str,
    /// First and last epoch on the axis.
    pub epochs: RangeInclusive<u32>,
    /// The series, in drawing order.
    pub series: &'a [(Mark, Points)],
    /// Values that the metric can have: no ticks outside.
    pub possible: RangeInclusive<f64>,
    /// The epoch to be marked.
    pub best: Option<u32>,
}

impl Panel<'_> {
    pub fn draw(&self, area: &Area<'_>) -> Drawn {
        let (x, y) = (self.x_axis(), self.y_axis());
        let bottom = y.range.start;

        let chart = axes(area, (x, "epoch"), (y, self.name))?;

        // From here on in pixels of the whole document.
        let (screen, plot) = (area.use_screen_coord(), chart.plotting_area());
        let (across, down) = plot.get_pixel_range();
        if let Some(best) = self.best.filter(|best| self.epochs.contains(best)) {
            let x = chart.backend_coord(&(f64::from(best), bottom)).0;
            dashed(&screen, (x, down.start), (x, down.end))?;
        }
        for (mark, points) in self.series {
            for run in runs(points) {
                let pixels: Vec<_> = run
                    .into_iter()
                    .map(|(epoch, value)| chart.backend_coord(&(f64::from(epoch), value)))
                    .collect();
                if points.len() <= MAX_MARKERS || pixels.len() == 1 {
                    pixels
                        .iter()
                        .try_for_each(|&pixel| mark.draw(&screen, pixel))?;
                }
                screen.draw(&PathElement::new(pixels, mark.color().stroke_width(2)))?;
            }
        }
        if self.values().next().is_none() {
            let middle = (
                i32::midpoint(across.start, across.end),
                i32::midpoint(down.start, down.end),
            );
            screen.draw_text(
                "no finite values",
                &text(TEXT, FAINT, HPos::Center, VPos::Center),
                middle,
            )?;
        }
        Ok(())
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        self.series
            .iter()
            .flat_map(|(_, points)| points)
            .filter_map(|&(_, value)| value)
    }

    fn x_axis(&self) -> Axis {
        let (first, last) = (
            f64::from(*self.epochs.start()),
            f64::from(*self.epochs.end()),
        );
        let pad = ((last - first) * 0.04).max(0.5);
        let range = first - pad..last + pad;
        let mut ticks = Ticks::whole(range.start, range.end, 10);
        ticks.at.retain(|tick| (first..=last).contains(tick));
        Axis { range, ticks }
    }

    fn y_axis(&self) -> Axis {
        let range = self.y_range();
        let mut ticks = Ticks::new(range.start, range.end, 6);
        ticks.at.retain(|tick| self.possible.contains(tick));
        Axis { range, ticks }
    }

    fn y_range(&self) -> Range<f64> {
        // Less than a hundredth of the value is no curve but noise.
        roomy(self.values(), 0.01)
    }
}

/// The stretches without a gap: a line must not cross an epoch whose value is missing.
fn runs(points: &[(u32, Option<f64>)]) -> Vec<Vec<(u32, f64)>> {
    points
        .split(|(_, value)| value.is_none())
        .map(|run| {
            run.iter()
                .filter_map(|&(epoch, value)| Some((epoch, value?)))
                .collect()
        })
        .filter(|run: &Vec<_>| !run.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(series: &[(Mark, Points)]) -> Panel<'_> {
        Panel {
            name: "loss",
            epochs: 1..=3,
            series,
            possible: 0.0..=f64::INFINITY,
            best: None,
        }
    }

    #[test]
    fn lines_break_at_missing_values() {
        let points = [
            (1, Some(1.0)),
            (2, Some(2.0)),
            (3, None),
            (4, None),
            (5, Some(5.0)),
        ];
        assert_eq!(runs(&points), [vec![(1, 1.0), (2, 2.0)], vec![(5, 5.0)]]);
        assert!(runs(&[(1, None)]).is_empty());
    }

    #[test]
    fn ranges_are_never_empty() {
        for values in [
            vec![],
            vec![0.0],
            vec![7.0, 7.0],
            vec![-3.0, 1e38],
            vec![1e-30, 1e-30],
        ] {
            let points: Points = (1..).zip(values.into_iter().map(Some)).collect();
            let series = [(Mark::Training, points)];
            let y = panel(&series).y_range();
            assert!(
                y.start < y.end && panel(&series).values().all(|v| y.contains(&v)),
                "{y:?}"
            );
        }
    }
}
