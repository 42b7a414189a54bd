//! Axes that are not linear: names side by side, and powers of ten.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

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

#[cfg(test)]
mod tests {
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
}
