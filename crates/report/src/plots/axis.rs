//! An axis of a panel for the plotting library: a range with ticks of our own choice.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use super::ticks::Ticks;

/// A linear axis over a range that is not empty.
pub(super) struct Axis {
    pub range: Range<f64>,
    pub ticks: Ticks,
}

/// The values with a little room around them; some range where there are none or all are equal.
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
