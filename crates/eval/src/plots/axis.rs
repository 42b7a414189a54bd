//! An axis of a panel for the plotting library: a range with ticks of our own choice.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use super::ticks::Ticks;

/// A linear axis over a range that is not empty.
pub(super) struct Axis {
    pub range: Range<f64>,
    pub ticks: Ticks,
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
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.at.clone() }
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
