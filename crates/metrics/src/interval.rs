//! Confidence intervals of shares.

/// The 97.5 % quantile of the normal distribution.
const QUANTILE: f64 = 1.959_963_984_540_054;

/// Computes the 95 % confidence interval of a share of which `hits` of `count` were found, by Wilson's score
/// (1927), which is sound near 0 and 1 too; from 0 to 1 where nothing was counted. `hits` is at most `count`.
///
/// For an accuracy it covers which images happened to be tested on, not how the weights happened to be drawn.
pub fn wilson_interval(hits: u64, count: u64) -> [f64; 2] {
    if count == 0 {
        return [0.0, 1.0];
    }
    let n = count as f64;
    let (share, square) = (hits as f64 / n, QUANTILE * QUANTILE);
    let middle = share + square / (2.0 * n);
    let half = QUANTILE * (share * (1.0 - share) / n + square / (4.0 * n * n)).sqrt();
    [middle - half, middle + half].map(|end| (end / (1.0 + square / n)).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn intervals_are_those_of_statsmodels() {
        // proportion_confint(hits, count, method="wilson"), statsmodels 0.14
        for (hits, count, [low, high]) in [
            (9, 10, [0.595_849_973_204_761_4, 0.982_123_786_904_927]),
            (0, 20, [0.0, 0.161_125_158_052_819_4]),
            (20, 20, [0.838_874_841_947_180_4, 1.0]),
            (
                9123,
                10_000,
                [0.906_596_564_280_600_5, 0.917_686_790_662_939_5],
            ),
        ] {
            let found = wilson_interval(hits, count);
            assert!(
                (found[0] - low).abs() < 1e-12 && (found[1] - high).abs() < 1e-12,
                "{found:?}"
            );
        }
        assert_eq!(wilson_interval(0, 0), [0.0, 1.0]);
    }

    proptest! {
        #[test]
        fn they_hold_the_share_and_shrink_with_the_count(hits in 0u64..1000, more in 0u64..1000) {
            let count = (hits + more).max(1);
            let width = |[low, high]: [f64; 2]| high - low;
            let [low, high] = wilson_interval(hits, count);
            let share = hits as f64 / count as f64;
            prop_assert!(low <= share + 1e-12 && share <= high + 1e-12);
            prop_assert!(width(wilson_interval(4 * hits, 4 * count)) < width([low, high]));
        }
    }
}
