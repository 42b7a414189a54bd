//! Training curves: loss and accuracy by epoch.

use std::ops::{Range, RangeInclusive};

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::axes::{Axis, Ticks, axes, roomy};
use super::canvas::{
    Area, Drawn, FAINT, LEGEND_HEIGHT, Mark, TEXT, dashed, legend, parts_below, picture, text,
};
use crate::{Picture, ReportError};

/// Width and height of one panel.
const PANEL: (u32, u32) = (500, 356);

/// A metric drawn by epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// Mean cross-entropy.
    Loss,
    /// Share of images classified correctly.
    Accuracy,
}

impl Curve {
    /// Returns the metric's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Accuracy => "accuracy",
        }
    }

    /// Returns the values that the metric can have.
    fn possible(self) -> RangeInclusive<f64> {
        match self {
            Self::Loss => 0.0..=f64::INFINITY,
            Self::Accuracy => 0.0..=1.0,
        }
    }

    fn series(self, epochs: &[EpochMetrics]) -> [(Mark, Points); 2] {
        match self {
            Self::Loss => series(epochs, |e| Some(e.train_loss), |e| e.val_loss),
            Self::Accuracy => series(epochs, |e| Some(e.train_accuracy), |e| e.val_accuracy),
        }
    }
}

/// Draws loss and accuracy by epoch, side by side, for training and validation, 1000 x 400 pixels.
///
/// Epochs are drawn in the order given. `best` is marked where it is among them. Missing, NaN and
/// infinite values leave a gap.
///
/// Where the loss of the first epochs is more than four times as high as the others reach, the axis
/// ends below it; arrows and a number tell so.
pub fn plot_curves(epochs: &[EpochMetrics], best: Option<u32>) -> Result<Picture, ReportError> {
    draw(&[Curve::Loss, Curve::Accuracy], epochs, best)
}

/// Draws one half of [`plot_curves`], 500 x 400 pixels: to be shown where a page may be narrow.
pub fn plot_curve(
    curve: Curve,
    epochs: &[EpochMetrics],
    best: Option<u32>,
) -> Result<Picture, ReportError> {
    draw(&[curve], epochs, best)
}

fn draw(
    curves: &[Curve],
    epochs: &[EpochMetrics],
    best: Option<u32>,
) -> Result<Picture, ReportError> {
    let numbers = || epochs.iter().map(|e| e.epoch);
    let (Some(first), Some(last)) = (numbers().min(), numbers().max()) else {
        return Err(ReportError::Empty { what: "epochs" });
    };
    let best = best.filter(|best| numbers().any(|epoch| epoch == *best));
    let series: Vec<_> = curves.iter().map(|curve| curve.series(epochs)).collect();
    let panels: Vec<Panel<'_>> = curves
        .iter()
        .zip(&series)
        .map(|(curve, series)| Panel {
            name: curve.name(),
            epochs: first..=last,
            series,
            possible: curve.possible(),
            best,
        })
        .collect();
    let has_values =
        |(_, points): &&(Mark, Points)| points.iter().any(|(_, value)| value.is_some());
    let mut marks: Vec<Mark> = series
        .iter()
        .flatten()
        .filter(has_values)
        .map(|(mark, _)| *mark)
        .collect();
    marks.sort();
    marks.dedup();
    let best_epoch = best.map(|epoch| (None, format!("best epoch: {epoch}")));
    let entries: Vec<_> = marks
        .iter()
        .map(|mark| (Some(*mark), mark.name().to_owned()))
        .chain(best_epoch)
        .collect();
    let size = (
        PANEL.0 * panels.len() as u32,
        PANEL.1 + LEGEND_HEIGHT as u32,
    );
    picture(size, |root| {
        legend(root, &entries)?;
        let (_, below) = root.split_vertically(LEGEND_HEIGHT);
        below
            .split_evenly((1, panels.len()))
            .iter()
            .zip(&panels)
            .try_for_each(|(area, panel)| panel.draw(area))
    })
}

/// Returns training and validation values, without those that cannot be drawn.
fn series(
    epochs: &[EpochMetrics],
    training: fn(&EpochMetrics) -> Option<f64>,
    validation: fn(&EpochMetrics) -> Option<f64>,
) -> [(Mark, Points); 2] {
    // Losses are f32; what is beyond them would overflow the axes' arithmetic.
    let drawable = |value: &f64| value.abs() <= f64::from(f32::MAX);
    [(Mark::Training, training), (Mark::Validation, validation)].map(|(mark, value)| {
        (
            mark,
            epochs
                .iter()
                .map(|e| (e.epoch, value(e).filter(drawable)))
                .collect(),
        )
    })
}

/// More epochs than this are drawn as lines without markers.
const MAX_MARKERS: usize = 40;

/// Epochs that an axis must show after those that it leaves out.
const MIN_REST: usize = 3;
/// How many times as high as the other epochs the first ones must reach for the axis to leave them
/// out.
const CRUSHED: f64 = 4.0;

/// A metric's values by epoch; `None` where there is none that can be drawn.
type Points = Vec<(u32, Option<f64>)>;

/// One panel: a metric by epoch.
struct Panel<'a> {
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
        let (bottom, top) = (y.range.start, y.range.end);

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
                let (inside, beyond): (Vec<_>, Vec<_>) =
                    run.iter().copied().partition(|(_, value)| *value <= top);
                if points.len() <= MAX_MARKERS || run.len() == 1 {
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
                    screen.draw(&PathElement::new(pixels, mark.color().stroke_width(2)))?;
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
        let lengths = self.series.iter().map(|(_, points)| points.len());
        lengths.max().unwrap_or(0)
    }

    /// Most values that a series has after so many epochs.
    fn values_after(&self, skipped: usize) -> usize {
        let counts = self.series.iter().map(|(_, points)| {
            let rest = points.iter().skip(skipped);
            rest.filter(|(_, value)| value.is_some()).count()
        });
        counts.max().unwrap_or(0)
    }

    /// Returns the smallest and the largest value after so many epochs.
    fn extent_from(&self, skipped: usize) -> Option<(f64, f64)> {
        let values = self
            .series
            .iter()
            .flat_map(|(_, points)| points.iter().skip(skipped));
        values
            .filter_map(|&(_, value)| value)
            .fold(None, |extent, value| {
                let (low, high) = extent.unwrap_or((value, value));
                Some((value.min(low), value.max(high)))
            })
    }

    /// Returns the largest value and its epoch.
    fn highest(&self) -> Option<(u32, f64)> {
        let points = self.series.iter().flat_map(|(_, points)| points);
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

/// Metrics of one epoch. A value that is NaN or infinite counts as missing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochMetrics {
    /// Number of the epoch, the first being 1.
    pub epoch: u32,
    /// Mean loss over the training set.
    pub train_loss: f64,
    /// Accuracy on the training set, 0 to 1.
    pub train_accuracy: f64,
    /// Mean loss over the validation set, if there is one.
    pub val_loss: Option<f64>,
    /// Accuracy on the validation set, 0 to 1, if there is one.
    pub val_accuracy: Option<f64>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn epoch(epoch: u32, value: f64) -> EpochMetrics {
        let (loss, accuracy) = (value, value.mul_add(0.5, 0.1));
        EpochMetrics {
            epoch,
            train_loss: loss,
            train_accuracy: accuracy,
            val_loss: Some(loss),
            val_accuracy: Some(accuracy),
        }
    }

    fn svg(epochs: &[EpochMetrics], best: Option<u32>) -> String {
        plot_curves(epochs, best).unwrap().to_svg()
    }

    fn count(document: &str, what: &str) -> usize {
        document.matches(what).count()
    }

    #[test]
    fn one_epoch_draws_points() {
        let document = svg(&[epoch(1, 0.5)], Some(1));
        // One disc per panel and one in the legend.
        assert_eq!(count(&document, "<circle"), 3);
        assert!(document.contains("best epoch: 1"), "{document}");
    }

    #[test]
    fn one_curve_is_half_of_both() {
        let loss = plot_curve(Curve::Loss, &[epoch(1, 0.5), epoch(2, 0.25)], None)
            .unwrap()
            .to_svg();
        assert!(
            loss.starts_with("<svg width=\"500\" height=\"400\"") && loss.contains("loss"),
            "{loss}"
        );
        assert!(!loss.contains("accuracy"));
    }

    #[test]
    fn values_that_are_not_finite_leave_a_gap() {
        let epochs = [
            epoch(1, 0.5),
            epoch(2, f64::NAN),
            epoch(3, f64::INFINITY),
            epoch(4, 0.25),
        ];
        let document = svg(&epochs, None);
        assert_eq!(count(&document, "<circle"), 5);
        assert!(
            !document.contains("NaN") && !document.contains("inf") && !document.contains("best"),
            "{document}"
        );
    }

    #[test]
    fn without_validation_the_legend_names_none() {
        let epochs = [EpochMetrics {
            val_loss: None,
            val_accuracy: None,
            ..epoch(1, 0.5)
        }];
        let document = svg(&epochs, None);
        assert!(
            document.contains("training") && !document.contains("validation"),
            "{document}"
        );
    }

    #[test]
    fn without_any_value_the_panels_say_so() {
        let document = svg(&[epoch(1, f64::NAN)], Some(7));
        assert_eq!(count(&document, "no finite values"), 2);
        assert!(!document.contains("best epoch") && !document.contains("training"));
        assert_eq!(
            plot_curves(&[], None),
            Err(ReportError::Empty { what: "epochs" })
        );
    }

    proptest! {
        #[test]
        fn any_history_can_be_drawn(history in prop::collection::vec((any::<u32>(), any::<f64>()), 1..60)) {
            let epochs: Vec<_> = history.into_iter().map(|(number, value)| epoch(number, value)).collect();
            let document = svg(&epochs, Some(epochs[0].epoch));
            prop_assert!(document.trim_end().ends_with("</svg>"));
        }
    }

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
        let series = [(Mark::Training, points)];
        let range = panel(&series).y_range();
        assert!(range.end < 0.6 && range.start < 0.25, "{range:?}");
        // Its place is marked, its value is written, and the line enters from above.
        let epochs: Vec<_> = (1..)
            .zip(losses)
            .map(|(number, loss)| epoch(number, loss))
            .collect();
        let document = plot_curve(Curve::Loss, &epochs, None).unwrap().to_svg();
        let (before, _) = document.split_once("up to 9.000").expect("a label");
        let y = before
            .rsplit(" y=\"")
            .next()
            .and_then(|y| y.split('"').next());
        // At the top of the panel, not a legend's height below it.
        let y: f64 = y.unwrap().parse().unwrap();
        let top = f64::from(LEGEND_HEIGHT);
        assert!((top..top + 20.0).contains(&y), "{y}");
        let cut = parts_below(&[(1.0, 9.0), (2.0, 0.5), (3.0, 0.4)], 1.0);
        assert_eq!(cut.len(), 1);
        assert!(
            cut[0].len() == 3 && cut[0][0].1 == 1.0 && cut[0][0].0 > 1.9,
            "{cut:?}"
        );
        // Nothing is left out where the others are still seen, or are few.
        for losses in [vec![2.0, 1.0, 0.7, 0.5, 0.4], vec![9.0, 0.5, 0.4]] {
            let points: Points = (1..).zip(losses.into_iter().map(Some)).collect();
            let series = [(Mark::Training, points)];
            let panel = panel(&series);
            assert!(panel.values().all(|value| panel.y_range().contains(&value)));
        }
        // An accuracy has its range.
        let accuracies = [0.1, 0.97, 0.98, 0.985, 0.99].map(Some);
        let series = [(Mark::Training, (1..).zip(accuracies).collect())];
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
            let series = [(Mark::Training, points)];
            let y = panel(&series).y_range();
            assert!(
                y.start < y.end && panel(&series).values().all(|v| y.contains(&v)),
                "{y:?}"
            );
        }
    }
}
