//! How long calls took.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::MetricsError;

/// Summary of the durations of calls that ran one after another.
///
/// Percentiles are interpolated linearly between the two nearest durations, numpy's default method:
/// `p` per cent of `n` sorted durations lies at position `p / 100 * (n - 1)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Number of calls, at least 1.
    pub calls: u64,
    /// Number of images per call.
    pub batch: u64,
    /// Mean duration of a call in milliseconds.
    pub mean_ms: f64,
    /// Shortest duration in milliseconds.
    pub min_ms: f64,
    /// Median duration in milliseconds.
    pub p50_ms: f64,
    /// 90th percentile in milliseconds.
    pub p90_ms: f64,
    /// 95th percentile in milliseconds.
    pub p95_ms: f64,
    /// 99th percentile in milliseconds.
    pub p99_ms: f64,
    /// Longest duration in milliseconds.
    pub max_ms: f64,
    /// Throughput: images of all calls divided by the sum of their durations.
    pub images_per_second: f64,
}

impl Latency {
    /// Summarises calls of `batch` images each; an error if there are none.
    pub fn from_durations(durations: &[Duration], batch: u64) -> Result<Self, MetricsError> {
        let mut ms: Vec<f64> = durations.iter().map(|d| d.as_secs_f64() * 1e3).collect();
        ms.sort_by(f64::total_cmp);
        let (Some(&min_ms), Some(&max_ms)) = (ms.first(), ms.last()) else {
            return Err(MetricsError::Empty {
                what: "timed calls",
            });
        };
        let calls = ms.len() as f64;
        let total_ms: f64 = ms.iter().sum();
        // A clock cannot tell calls shorter than a nanosecond from none at all; the throughput
        // stays finite.
        let seconds = (total_ms / 1e3).max(1e-9);
        Ok(Self {
            calls: ms.len() as u64,
            batch,
            mean_ms: total_ms / calls,
            min_ms,
            p50_ms: percentile(&ms, 50.0),
            p90_ms: percentile(&ms, 90.0),
            p95_ms: percentile(&ms, 95.0),
            p99_ms: percentile(&ms, 99.0),
            max_ms,
            images_per_second: batch as f64 * calls / seconds,
        })
    }
}

/// `percent` of a sorted, non-empty list, linearly interpolated.
fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let last = sorted.len() - 1;
    let position = percent / 100.0 * last as f64;
    let below = (position.floor() as usize).min(last);
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equals_numpy() {
        // numpy.percentile([1, 2, 3, 4, 10], [50, 90, 95, 99]) = 3, 7.6, 8.8, 9.76
        let found =
            Latency::from_durations(&[3, 1, 10, 2, 4].map(Duration::from_millis), 8).unwrap();
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert_eq!((found.calls, found.batch), (5, 8));
        assert!(
            near(found.mean_ms, 4.0) && near(found.min_ms, 1.0) && near(found.max_ms, 10.0),
            "{found:?}"
        );
        assert!(
            near(found.p50_ms, 3.0) && near(found.p90_ms, 7.6),
            "{found:?}"
        );
        assert!(
            near(found.p95_ms, 8.8) && near(found.p99_ms, 9.76),
            "{found:?}"
        );
        assert!(near(found.images_per_second, 2000.0), "{found:?}");
    }

    #[test]
    fn none_is_an_error_and_zero_stays_finite() {
        assert_eq!(
            Latency::from_durations(&[], 1),
            Err(MetricsError::Empty {
                what: "timed calls"
            })
        );
        assert!(
            Latency::from_durations(&[Duration::ZERO], 1)
                .unwrap()
                .images_per_second
                .is_finite()
        );
        assert!(
            Latency::from_durations(&[Duration::MAX; 3], u64::MAX)
                .unwrap()
                .mean_ms
                .is_finite()
        );
    }

    proptest! {
        #[test]
        fn percentiles_are_ordered(us in prop::collection::vec(0u64..10_000_000, 1..200)) {
            let durations: Vec<_> = us.into_iter().map(Duration::from_micros).collect();
            let l = Latency::from_durations(&durations, 1).unwrap();
            prop_assert!([l.min_ms, l.p50_ms, l.p90_ms, l.p95_ms, l.p99_ms, l.max_ms].is_sorted());
            prop_assert!(l.min_ms <= l.mean_ms * (1.0 + 1e-12) && l.mean_ms <= l.max_ms * (1.0 + 1e-12));
        }
    }
}
