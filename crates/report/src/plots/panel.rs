//! One panel of training curves: a metric by epoch, in several series.

use std::ops::{Range, RangeInclusive};

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::axes::{Axis, Ticks, axes, roomy};
use super::canvas::{Area, Drawn, FAINT, Mark, TEXT, dashed, parts_below, text};

/// Width and height of one panel.
pub const PANEL: (u32, u32) = (500, 356);

/// More epochs than this are drawn as lines without markers.
const MAX_MARKERS: usize = 40;

/// Epochs that an axis must show after those that it leaves out.
const MIN_REST: usize = 3;
/// How many times as high as the other epochs the first ones must reach for the axis to leave them
/// out.
const CRUSHED: f64 = 4.0;

/// A metric's values by epoch; `None` where there is none that can be drawn.
pub type Points = Vec<(u32, Option<f64>)>;

/// Values by epoch, and how they are drawn.
pub struct Series {
    pub mark: Mark,
    pub points: Points,
    /// Drawn as a thin line without marks.
    pub is_faint: bool,
}

impl Series {
    pub fn new(mark: Mark, points: Points) -> Self {
        Self {
            mark,
            points,
            is_faint: false,
        }
    }

    pub fn has_values(&self) -> bool {
        self.points.iter().any(|(_, value)| value.is_some())
    }
}

/// Collects a metric's values by epoch, without those that cannot be drawn.
pub fn drawable(values: impl Iterator<Item = (u32, Option<f64>)>) -> Points {
    // Losses are f32; what is beyond them would overflow the axes' arithmetic.
    let drawable = |value: &f64| value.abs() <= f64::from(f32::MAX);
    values
        .map(|(epoch, value)| (epoch, value.filter(drawable)))
        .collect()
}

/// One panel: a metric by epoch.
pub struct Panel<'a> {
    /// The metric's name.
    pub name: &'a str,
    /// First and last epoch on the axis.
    pub epochs: RangeInclusive<u32>,
    /// The series, in drawing order.
    pub series: &'a [Series],
    /// Values that the metric can have: no ticks outside.
    pub possible: RangeInclusive<f64>,
    /// The epoch to be marked.
    pub best: Option<u32>,
}

impl Panel<'_> {
    pub fn draw(&self, area: &Area<'_>) -> Drawn {
        let (x, y) = (self.x_axis(), self.y_axis());
        let (bottom, top) = (y.range.start, y.range.end);

        let chart = axes(area, (x, "epoch"), (y, self.name))?;

        // From here on in pixels of the whole document.
        let (screen, plot) = (area.use_screen_coord(), chart.plotting_area());
        let (across, down) = plot.get_pixel_range();
        if let Some(best) = self.best.filter(|best| self.epochs.contains(best)) {
            let x = chart.backend_coord(&(f64::from(best), bottom)).0;
            dashed(&screen, (x, down.start), (x, down.end))?;
        }
        for Series {
            mark,
            points,
            is_faint,
        } in self.series
        {
            let line = mark.color().stroke_width(if *is_faint { 1 } else { 2 });
            for run in runs(points) {
                let (inside, beyond): (Vec<_>, Vec<_>) =
                    run.iter().copied().partition(|(_, value)| *value <= top);
                if !is_faint && points.len() <= MAX_MARKERS || run.len() == 1 {
                    inside
                        .into_iter()
                        .map(|at| chart.backend_coord(&at))
                        .try_for_each(|pixel| mark.draw(&screen, pixel))?;
                }
                for (epoch, _) in beyond {
                    let (x, y) = chart.backend_coord(&(epoch, top));
                    let arrow = vec![(x, y), (x - 5, y + 9), (x + 5, y + 9)];
                    screen.draw(&Polygon::new(arrow, mark.color().filled()))?;
                }
                for part in parts_below(&run, top) {
                    let pixels: Vec<_> = part.iter().map(|at| chart.backend_coord(at)).collect();
                    screen.draw(&PathElement::new(pixels, line))?;
                }
            }
        }
        if let Some((epoch, value)) = self.highest().filter(|(_, value)| *value > top) {
            let (x, y) = chart.backend_coord(&(f64::from(epoch), top));
            screen.draw(&Text::new(
                format!("up to {value:.3}"),
                (x + 9, y),
                text(TEXT, FAINT, HPos::Left, VPos::Top),
            ))?;
        }
        if self.values().next().is_none() {
            let middle = (
                i32::midpoint(across.start, across.end),
                i32::midpoint(down.start, down.end),
            );
            screen.draw(&Text::new(
                "no finite values",
                middle,
                text(TEXT, FAINT, HPos::Center, VPos::Center),
            ))?;
        }
        Ok(())
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        self.series
            .iter()
            .flat_map(|series| &series.points)
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
        let limit = self.limit();
        // Less than a hundredth of the value is no curve but noise.
        roomy(self.values().filter(|value| *value <= limit), 0.01)
    }

    /// Computes the largest value that the axis must reach: of the epochs after the first few where
    /// those would crush the others, as the loss of untrained weights does.
    fn limit(&self) -> f64 {
        let epochs = self.longest();
        let all = self.extent_from(0);
        let few = 1..=(epochs / 10).max(1);
        let limits = few
            .filter(|&skipped| self.values_after(skipped) >= MIN_REST)
            .filter_map(|skipped| self.extent_from(skipped));
        let has_limits = self.possible.end().is_infinite();
        let crushed = |&(low, high): &(f64, f64)| {
            all.is_some_and(|(lowest, highest)| {
                highest > high && highest - lowest > CRUSHED * (high - low)
            })
        };
        let limit = limits.filter(|_| has_limits).find(crushed);
        limit.map_or(f64::INFINITY, |(_, high)| high)
    }

    /// Number of epochs in the longest series.
    fn longest(&self) -> usize {
        let lengths = self.series.iter().map(|series| series.points.len());
        lengths.max().unwrap_or(0)
    }

    /// Most values that a series has after so many epochs.
    fn values_after(&self, skipped: usize) -> usize {
        let counts = self.series.iter().map(|series| {
            let rest = series.points.iter().skip(skipped);
            rest.filter(|(_, value)| value.is_some()).count()
        });
        counts.max().unwrap_or(0)
    }

    /// Returns the smallest and the largest value after so many epochs.
    fn extent_from(&self, skipped: usize) -> Option<(f64, f64)> {
        let values = self
            .series
            .iter()
            .flat_map(|series| series.points.iter().skip(skipped));
        values
            .filter_map(|&(_, value)| value)
            .fold(None, |extent, value| {
                let (low, high) = extent.unwrap_or((value, value));
                Some((value.min(low), value.max(high)))
            })
    }

    /// Returns the largest value and its epoch.
    fn highest(&self) -> Option<(u32, f64)> {
        let points = self.series.iter().flat_map(|series| &series.points);
        points
            .filter_map(|&(epoch, value)| Some((epoch, value?)))
            .max_by(|(_, a), (_, b)| a.total_cmp(b))
    }
}

/// Splits a series into stretches without a gap: a line must not cross an epoch whose value is missing.
fn runs(points: &[(u32, Option<f64>)]) -> Vec<Vec<(f64, f64)>> {
    points
        .split(|(_, value)| value.is_none())
        .map(|run| {
            run.iter()
                .filter_map(|&(epoch, value)| Some((f64::from(epoch), value?)))
                .collect()
        })
        .filter(|run: &Vec<_>| !run.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(series: &[Series]) -> Panel<'_> {
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
        assert_eq!(
            runs(&points),
            [vec![(1.0, 1.0), (2.0, 2.0)], vec![(5.0, 5.0)]]
        );
        assert!(runs(&[(1, None)]).is_empty());
    }

    #[test]
    fn a_first_epoch_does_not_crush_the_others() {
        let losses = [9.0, 0.5, 0.4, 0.3, 0.25];
        let points: Points = (1..).zip(losses.map(Some)).collect();
        let series = [Series::new(Mark::Training, points)];
        let range = panel(&series).y_range();
        assert!(range.end < 0.6 && range.start < 0.25, "{range:?}");
        let cut = parts_below(&[(1.0, 9.0), (2.0, 0.5), (3.0, 0.4)], 1.0);
        assert_eq!(cut.len(), 1);
        assert!(
            cut[0].len() == 3 && cut[0][0].1 == 1.0 && cut[0][0].0 > 1.9,
            "{cut:?}"
        );
        // Nothing is left out where the others are still seen, or are few.
        for losses in [vec![2.0, 1.0, 0.7, 0.5, 0.4], vec![9.0, 0.5, 0.4]] {
            let points: Points = (1..).zip(losses.into_iter().map(Some)).collect();
            let series = [Series::new(Mark::Training, points)];
            let panel = panel(&series);
            assert!(panel.values().all(|value| panel.y_range().contains(&value)));
        }
        // An accuracy has its range.
        let accuracies = [0.1, 0.97, 0.98, 0.985, 0.99].map(Some);
        let series = [Series::new(Mark::Training, (1..).zip(accuracies).collect())];
        let panel = Panel {
            possible: 0.0..=1.0,
            ..panel(&series)
        };
        assert!(panel.y_range().contains(&0.1));
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
            let series = [Series::new(Mark::Training, points)];
            let y = panel(&series).y_range();
            assert!(
                y.start < y.end && panel(&series).values().all(|v| y.contains(&v)),
                "{y:?}"
            );
        }
    }
}
