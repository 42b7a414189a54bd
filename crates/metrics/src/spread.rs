//! Mean and spread of repeated runs.

use serde::{Deserialize, Serialize};

/// Mean and spread of some values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Number of values, at least 1.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// Standard deviation of what they are a sample of (divided by `count - 1`); none of a single
    /// value.
    pub deviation: Option<f64>,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Computes mean and spread of these values; none where there are no values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len();
        let (first, n) = (*values.first()?, count as f64);
        // Around a value instead of zero: equal values then have no deviation at all.
        let mean = first + values.iter().map(|value| value - first).sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Self {
            count,
            mean,
            deviation: (count > 1).then(|| (squares / (n - 1.0)).sqrt()),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_deviation_is_that_of_a_sample() {
        let spread = Spread::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_eq!(
            (spread.count, spread.mean, spread.min, spread.max),
            (8, 5.0, 2.0, 9.0)
        );
        assert_eq!(spread.deviation, Some((32.0_f64 / 7.0).sqrt()));
        assert_eq!(Spread::of(&[0.1; 3]).unwrap().deviation, Some(0.0));
        assert_eq!(Spread::of(&[3.0]).unwrap().deviation, None);
        assert_eq!(Spread::of(&[]), None);
    }

    proptest! {
        #[test]
        fn the_mean_lies_between_the_extremes(values in prop::collection::vec(-1e6f64..1e6, 1..20), shift in -1e3f64..1e3) {
            let spread = Spread::of(&values).unwrap();
            prop_assert!(spread.min - 1e-6 <= spread.mean && spread.mean <= spread.max + 1e-6);
            let shifted: Vec<f64> = values.iter().map(|value| value + shift).collect();
            let moved = Spread::of(&shifted).unwrap();
            prop_assert!((moved.mean - spread.mean - shift).abs() < 1e-6);
            prop_assert!((moved.deviation.unwrap_or(0.0) - spread.deviation.unwrap_or(0.0)).abs() < 1e-6);
        }
    }
}
