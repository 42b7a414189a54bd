//! Axes of a panel: ranges, ticks and labels of kiln's own choice.

use std::ops::Range;

use plotters::coord::ranged1d::{
    BoldPoints, KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter,
};
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

/// A linear axis over a range that is not empty.
pub(super) struct Axis {
    pub range: Range<f64>,
    pub ticks: Ticks,
}

/// Returns the range of the values with a little room around them; some range where there are none or all are equal.
/// What spans less than the share `least` of the largest value is given that much, since its ticks
/// would need long labels.
pub(super) fn roomy(values: impl Iterator<Item = f64>, least: f64) -> Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
        (l.min(v), h.max(v))
    });
    if low > high {
        return 0.0..1.0;
    }
    let (middle, largest) = (f64::midpoint(low, high), low.abs().max(high.abs()));
    // What is as good as zero has no share to speak of.
    let least = if largest > 1e-30 {
        largest * least
    } else {
        1.0
    };
    let half = (high - low).max(least) * 0.56;
    middle - half..middle + half
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        (f64::from(from) + share * f64::from(to - from)).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, hint: H) -> Vec<f64> {
        // Light points are the lines between ticks, of which there are none.
        if hint.weight().allow_light_points() {
            Vec::new()
        } else {
            self.ticks.at.clone()
        }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, tick: &f64) -> String {
        self.ticks.label(*tick)
    }
}

/// Names side by side, at 0, 1, 2 and so on.
#[derive(Clone)]
pub(super) struct Categories(pub Vec<String>);

impl Ranged for Categories {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (value + 0.5) / self.0.len() as f64;
        (f64::from(from) + share * f64::from(to - from)).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, hint: H) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            Vec::new()
        } else {
            (0..self.0.len()).map(|at| at as f64).collect()
        }
    }

    fn range(&self) -> Range<f64> {
        -0.5..self.0.len() as f64 - 0.5
    }
}

impl ValueFormatter<f64> for Categories {
    fn format_ext(&self, at: &f64) -> String {
        self.0.get(at.round() as usize).cloned().unwrap_or_default()
    }
}

/// A logarithmic axis over positive values.
pub(super) struct Logarithmic {
    low: f64,
    high: f64,
    ticks: Vec<(f64, String)>,
}

impl Logarithmic {
    /// Around these values, which are positive and finite.
    pub fn around(values: impl Iterator<Item = f64>) -> Self {
        const ROOM: f64 = 1.35;
        let (low, high) = values.fold((f64::INFINITY, 0.0), |(low, high), value| {
            (value.min(low), value.max(high))
        });
        let (low, high) = if low <= high {
            (low / ROOM, high * ROOM)
        } else {
            (1.0, 10.0)
        };
        let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
        // Enough to read a value off, few enough not to run into one another.
        let multiples: &[f64] = if high / low < 3000.0 {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        let step = if high / low < 1e9 {
            1
        } else {
            (decades.end() - decades.start()) as usize / 8
        };
        let all = decades.step_by(step.max(1)).flat_map(|power| {
            let decimals = (-power).max(0) as usize;
            multiples.iter().map(move |multiple| {
                let value = multiple * 10f64.powi(power);
                let plain = (-4..6).contains(&power);
                (
                    value,
                    if plain {
                        format!("{value:.decimals$}")
                    } else {
                        format!("{multiple:.0}e{power}")
                    },
                )
            })
        });
        Self {
            low,
            high,
            ticks: all
                .filter(|(value, _)| (low..=high).contains(value))
                .collect(),
        }
    }
}

impl Ranged for Logarithmic {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (value / self.low).ln() / (self.high / self.low).ln();
        (f64::from(from) + share * f64::from(to - from)).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, hint: H) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            Vec::new()
        } else {
            self.ticks.iter().map(|(value, _)| *value).collect()
        }
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Logarithmic {
    fn format_ext(&self, tick: &f64) -> String {
        // The ticks come back as they were given out.
        let label = self
            .ticks
            .iter()
            .find(|(value, _)| value.total_cmp(tick).is_eq());
        label.map(|(_, label)| label.clone()).unwrap_or_default()
    }
}

/// Ticks of an axis: at multiples of 1, 2 or 5 times a power of ten.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ticks {
    /// Positions of the ticks, ascending.
    pub at: Vec<f64>,
    step: f64,
    largest: f64,
}

impl Ticks {
    /// Creates at most about `wanted` ticks from `low` to `high`, which are finite and apart by more than
    /// rounding.
    pub fn new(low: f64, high: f64, wanted: u32) -> Self {
        Self::with_step(low, high, nice((high - low) / f64::from(wanted)))
    }

    /// Creates ticks on whole numbers only.
    pub fn whole(low: f64, high: f64, wanted: u32) -> Self {
        Self::with_step(low, high, nice((high - low) / f64::from(wanted)).max(1.0))
    }

    fn with_step(low: f64, high: f64, step: f64) -> Self {
        let (first, last) = (
            (low / step - 1e-9).ceil() as i64,
            (high / step + 1e-9).floor() as i64,
        );
        let at = (first..=last).map(|i| i as f64 * step).collect();
        Self {
            at,
            step,
            largest: low.abs().max(high.abs()),
        }
    }

    /// Formats a tick: as many digits as tell it from its neighbors.
    pub fn label(&self, tick: f64) -> String {
        let exponent = |x: f64| x.log10().floor() as i32;
        if tick == 0.0 {
            return "0".to_owned();
        }
        if (1e-4..1e6).contains(&self.largest) {
            let decimals = (-exponent(self.step * 1.001)).max(0) as usize;
            format!("{tick:.decimals$}")
        } else {
            let digits = (exponent(self.largest) - exponent(self.step * 1.001)).max(0) as usize;
            format!("{tick:.digits$e}")
        }
    }
}

/// The smallest of 1, 2, 5 and 10 times a power of ten that is not below `step`.
fn nice(step: f64) -> f64 {
    let power = 10f64.powi(step.log10().floor() as i32);
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|m| m * power)
        .find(|&s| s >= step * 0.999)
        .unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_lie_in_the_middle_of_equal_parts() {
        let axis = Categories(["1", "8"].map(String::from).to_vec());
        assert_eq!([0.0, 1.0].map(|at| axis.map(&at, (0, 100))), [25, 75]);
        assert_eq!(
            [0.0, 1.0, 2.0].map(|at| axis.format_ext(&at)),
            ["1", "8", ""]
        );
    }

    #[test]
    fn powers_of_ten_are_equally_far_apart() {
        let axis = Logarithmic::around([0.01, 1.0, 100.0].into_iter());
        let [a, b, c] = [0.01, 1.0, 100.0].map(|value| axis.map(&value, (0, 10_000)));
        assert!((b - a) - (c - b) <= 1 && a > 0 && c < 10_000, "{a} {b} {c}");
        let labels = |values: &[f64]| {
            let axis = Logarithmic::around(values.iter().copied());
            axis.ticks
                .iter()
                .map(|(_, label)| label.as_str())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(labels(&[0.03, 4.0]), "0.05 0.1 0.2 0.5 1 2 5");
        assert_eq!(labels(&[0.01, 1000.0]), "0.01 0.1 1 10 100 1000");
        assert!(labels(&[1e-6, 1e30]).split(' ').count() < 12);
        assert_eq!(labels(&[]), "1 2 5 10");
    }

    fn labels(ticks: &Ticks) -> Vec<String> {
        ticks.at.iter().map(|&tick| ticks.label(tick)).collect()
    }

    #[test]
    fn steps_are_nice() {
        assert_eq!(
            labels(&Ticks::new(0.93, 1.001, 5)),
            ["0.94", "0.96", "0.98", "1.00"]
        );
        assert_eq!(
            labels(&Ticks::new(-0.1, 2.4, 5)),
            ["0", "0.5", "1.0", "1.5", "2.0"]
        );
        assert_eq!(labels(&Ticks::new(0.0, 1135.0, 5)), ["0", "500", "1000"]);
        assert_eq!(
            labels(&Ticks::new(0.0, 3e30, 3)),
            ["0", "1e30", "2e30", "3e30"]
        );
    }

    #[test]
    fn epochs_are_whole() {
        assert_eq!(labels(&Ticks::whole(0.5, 3.5, 10)), ["1", "2", "3"]);
        assert_eq!(
            labels(&Ticks::whole(0.5, 30.5, 10)),
            ["5", "10", "15", "20", "25", "30"]
        );
        assert_eq!(labels(&Ticks::whole(6.5, 7.5, 10)), ["7"]);
    }

    proptest! {
        #[test]
        fn are_few_inside_and_distinct(low in -1e3f64..1e3, exponent in -3i32..6, wanted in 2u32..12) {
            let high = low + 10f64.powi(exponent);
            let ticks = Ticks::new(low, high, wanted);
            prop_assert!(ticks.at.len() <= wanted as usize + 1, "{:?}", ticks);
            prop_assert!(ticks.at.iter().all(|&t| t >= low - 1e-9 && t <= high + 1e-9), "{:?}", ticks);
            let labels = labels(&ticks);
            prop_assert!(labels.windows(2).all(|w| w[0] != w[1]), "{:?}", labels);
        }
    }
}
