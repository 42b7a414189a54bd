//! What values an activation has on images, and the range that its 256 steps are to cover.

use crate::error::QuantizeError;

/// Bins of a histogram, half of them below 0.
const BINS: usize = 4096;

/// Steps of 8 bits.
const LEVELS: usize = 256;

/// Shares of the largest value that are tried as ends of a range, from 1 down.
const SHARES: usize = 100;

/// How a range is found.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Method {
    /// From the least to the greatest value.
    MinMax,
    /// So that this share of the values, such as 0.9999, is inside.
    Percentile(f64),
    /// That of the least mean squared error of rounding and clipping.
    Mse,
    /// That of the least information lost: the Kullback-Leibler divergence of the rounded and clipped values from
    /// the real ones, as TensorRT calibrates (Migacz, "8-bit Inference with TensorRT", 2017).
    Entropy,
}

/// The real numbers that integers are to stand for, from `low` to `high`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// The least.
    pub low: f32,
    /// The greatest, at least `low`.
    pub high: f32,
}

impl Range {
    /// A range; `low` is at most `high`.
    pub const fn new(low: f32, high: f32) -> Self {
        Self { low, high }
    }
}

/// The values of one activation on any number of images: their ends, a histogram, and the mean of each channel.
///
/// The histogram's bins widen by powers of two as larger values come, so that the images are looked at once,
/// and the order in which they come makes a difference of a bin at most.
#[derive(Debug, Clone)]
pub struct Observer {
    low: f32,
    high: f32,
    /// The bins cover values from `-limit` to `limit`, other than 0.
    limit: f32,
    bins: Vec<u64>,
    /// Values that are exactly 0, as half of those behind `ReLU` are: no range rounds them.
    zeros: u64,
    /// Sums by channel, and the number of all values.
    sums: Vec<f64>,
    count: u64,
    /// Sizes of the axes behind the channels'.
    inner: Vec<usize>,
}

impl Observer {
    /// Begins with no values; the activation has so many channels, and behind them axes of these sizes, such as
    /// height and width.
    pub fn new(channels: usize, inner: &[usize]) -> Self {
        Self {
            low: f32::INFINITY,
            high: f32::NEG_INFINITY,
            limit: 0.0,
            bins: vec![0; BINS],
            zeros: 0,
            sums: vec![0.0; channels],
            count: 0,
            inner: inner.to_vec(),
        }
    }

    /// Adds the values of images, row-major.
    ///
    /// # Errors
    ///
    /// [`QuantizeError::NotFinite`], with `name` as the value's.
    pub fn push(&mut self, name: &str, values: &[f32]) -> Result<(), QuantizeError> {
        let inner: usize = self.inner.iter().product();
        let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
        let mut sum = 0.0_f32;
        for &value in values {
            low = low.min(value);
            high = high.max(value);
            sum += value * 0.0;
        }
        if sum != 0.0 || sum.is_nan() {
            let found = values.iter().find(|value| !value.is_finite());
            return Err(QuantizeError::NotFinite {
                value: name.into(),
                found: found.copied().unwrap_or(f32::NAN).to_string(),
            });
        }
        if values.is_empty() {
            return Ok(());
        }
        (self.low, self.high) = (self.low.min(low), self.high.max(high));
        self.widen(low.abs().max(high.abs()));
        let channels = self.sums.len();
        for (at, values) in values.chunks(inner.max(1)).enumerate() {
            let sum: f32 = values.iter().sum();
            self.sums[at % channels] += f64::from(sum);
        }
        self.count += values.len() as u64;
        if self.limit > 0.0 {
            let per_value = (BINS / 2) as f32 / self.limit;
            for &value in values {
                let bin = (value * per_value + (BINS / 2) as f32) as usize;
                self.bins[bin.min(BINS - 1)] += u64::from(value != 0.0);
            }
        }
        self.zeros += values
            .iter()
            .map(|&value| u64::from(value == 0.0))
            .sum::<u64>();
        Ok(())
    }

    /// Makes room for values as large as `largest`.
    fn widen(&mut self, largest: f32) {
        if largest == 0.0 || largest <= self.limit {
            return;
        }
        if self.limit == 0.0 {
            self.limit = largest;
            return;
        }
        while self.limit < largest {
            let mut wider = vec![0; BINS];
            for (bin, count) in self.bins.iter().enumerate() {
                wider[BINS / 4 + bin / 2] += count;
            }
            self.bins = wider;
            self.limit *= 2.0;
        }
    }

    /// Returns the sizes of the axes behind the channels'.
    pub fn inner(&self) -> &[usize] {
        &self.inner
    }

    /// Returns the mean of each channel.
    pub fn means(&self) -> Vec<f64> {
        let per_channel = self.count as f64 / self.sums.len().max(1) as f64;
        self.sums
            .iter()
            .map(|sum| sum / per_channel.max(1.0))
            .collect()
    }

    /// Returns the range that a method finds, with 0 in it; none where no value was added.
    pub fn range(&self, method: Method) -> Option<Range> {
        if self.count == 0 {
            return None;
        }
        let whole = Range::new(self.low.min(0.0), self.high.max(0.0));
        if self.limit == 0.0 {
            return Some(whole);
        }
        Some(match method {
            Method::MinMax => whole,
            Method::Percentile(share) => self.percentile(share, whole),
            Method::Mse => best(whole, |range| self.squared_error(range)),
            Method::Entropy => best(whole, |range| self.divergence(range)),
        })
    }

    /// The real number in the middle of a bin.
    fn middle(&self, bin: usize) -> f64 {
        let width = f64::from(self.limit) / (BINS / 2) as f64;
        (bin as f64 + 0.5 - (BINS / 2) as f64) * width
    }

    fn percentile(&self, share: f64, whole: Range) -> Range {
        let cut = (1.0 - share).max(0.0) * self.count as f64 / 2.0;
        let mut passed = [0.0; 2];
        let mut is_end = |side: usize, bin: usize| {
            let zeros = if bin == BINS / 2 { self.zeros } else { 0 };
            passed[side] += (self.bins[bin] + zeros) as f64;
            passed[side] > cut
        };
        let low = (0..BINS).find(|&bin| is_end(0, bin));
        let high = (0..BINS).rev().find(|&bin| is_end(1, bin));
        let end = |bin: Option<usize>| bin.map_or(0.0, |bin| self.middle(bin) as f32);
        Range::new(
            end(low).clamp(whole.low, 0.0),
            end(high).clamp(0.0, whole.high),
        )
    }

    /// The sum of the squared errors of rounding inside a range, which are uniform within a step, and of clipping
    /// outside of it.
    fn squared_error(&self, range: Range) -> f64 {
        let (low, high) = (f64::from(range.low), f64::from(range.high));
        let step = (high - low) / (LEVELS - 1) as f64;
        let rounding = step * step / 12.0;
        let errors = self
            .bins
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0);
        let errors = errors.map(|(bin, &count)| {
            let value = self.middle(bin);
            let outside = value - value.clamp(low, high);
            count as f64 * (rounding + outside * outside)
        });
        errors.sum()
    }

    /// The Kullback-Leibler divergence of what integers of a range stand for from the values, clipped ones counted at
    /// the range's ends.
    fn divergence(&self, range: Range) -> f64 {
        let width = f64::from(self.limit) / (BINS / 2) as f64;
        let bin_of = |value: f32| {
            ((f64::from(value) / width).floor() + (BINS / 2) as f64).clamp(0.0, (BINS - 1) as f64)
                as usize
        };
        let (first, last) = (bin_of(range.low), bin_of(range.high));
        let inside = &self.bins[first..=last];
        if inside.len() <= LEVELS {
            // Every bin would have a step of its own: nothing can be said of so narrow a range.
            return f64::INFINITY;
        }
        let mut real: Vec<f64> = inside.iter().map(|&count| count as f64).collect();
        let outside = |bins: &[u64]| bins.iter().sum::<u64>() as f64;
        let ends = [
            outside(&self.bins[..first]),
            outside(&self.bins[last + 1..]),
        ];
        let edge = real.len() - 1;
        real[0] += ends[0];
        real[edge] += ends[1];
        let total = (self.count - self.zeros) as f64;
        let counted: f64 = inside.iter().map(|&count| count as f64).sum();
        if counted == 0.0 {
            return f64::INFINITY;
        }
        // A step stands for all bins of it that have values alike.
        let level = |bin: usize| bin * LEVELS / real.len();
        let (mut sums, mut filled) = (vec![0.0; LEVELS], vec![0_u32; LEVELS]);
        for (bin, &count) in inside.iter().enumerate() {
            sums[level(bin)] += count as f64;
            filled[level(bin)] += u32::from(real[bin] > 0.0);
        }
        let mut divergence = 0.0;
        for (bin, &count) in real.iter().enumerate().filter(|(_, count)| **count > 0.0) {
            let p = count / total;
            let rounded = sums[level(bin)] / f64::from(filled[level(bin)]);
            // What only clipping brings into a bin has no share of the steps.
            let q = (rounded / counted).max(1e-12);
            divergence += p * (p / q).ln();
        }
        divergence
    }
}

/// The range of the least error, of those whose ends are a share of the whole's: one end after the other, twice.
fn best(whole: Range, error: impl Fn(Range) -> f64) -> Range {
    let mut best = (error(whole), whole);
    for _ in 0..2 {
        for is_high in [true, false] {
            let end = if is_high { whole.high } else { whole.low };
            if end == 0.0 {
                continue;
            }
            let (_, fixed) = best;
            for at in 1..SHARES {
                let end = end * (1.0 - at as f32 / SHARES as f32);
                let range = if is_high {
                    Range::new(fixed.low, end)
                } else {
                    Range::new(end, fixed.high)
                };
                let found = error(range);
                if found < best.0 {
                    best = (found, range);
                }
            }
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn observed(values: &[f32]) -> Observer {
        let mut observer = Observer::new(1, &[values.len()]);
        observer.push("v", values).unwrap();
        observer
    }

    /// Bell-shaped values from -1 to 1, by the sum of twelve sequences.
    fn bell(count: usize) -> Vec<f32> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32
        };
        (0..count)
            .map(|_| ((0..12).map(|_| next()).sum::<f32>() - 6.0) / 6.0)
            .collect()
    }

    #[test]
    fn min_max_is_exact_and_includes_zero() {
        assert_eq!(
            observed(&[0.25, 3.5]).range(Method::MinMax),
            Some(Range::new(0.0, 3.5))
        );
        assert_eq!(
            observed(&[-2.0, -1.0]).range(Method::MinMax),
            Some(Range::new(-2.0, 0.0))
        );
        assert_eq!(
            observed(&[0.0, 0.0]).range(Method::Entropy),
            Some(Range::new(0.0, 0.0))
        );
        assert_eq!(Observer::new(1, &[]).range(Method::MinMax), None);
    }

    /// Of 100,000 values below 1 and one of 40, clipping at `h` costs `(40 - h)²` and rounding `h² · 100,000 / (12 · 255²)`.
    #[test]
    fn an_outlier_is_clipped_by_what_a_method_minimizes() {
        let mut values = bell(100_000);
        values.push(40.0);
        let observer = observed(&values);
        let high = |method| observer.range(method).unwrap().high;
        assert!((high(Method::MinMax) - 40.0).abs() < f32::EPSILON);
        assert!((high(Method::Mse) - 40.0 / (1.0 + 1e5 / (12.0 * 255.0 * 255.0))).abs() < 0.6);
        assert!(high(Method::Percentile(0.9999)) < 1.1);
        assert!(high(Method::Entropy) < 8.0);
        let low = observer.range(Method::Entropy).unwrap().low;
        assert!(low < -0.3 && low > -1.1, "{low}");
    }

    /// The best clipping of a Gaussian to 8 bits is near four standard deviations (Banner and others, 2019: 3.92 for
    /// one of infinite extent).
    #[test]
    fn the_mean_squared_error_of_a_bell_is_least_near_four_deviations() {
        let values: Vec<f32> = bell(1_000_000).iter().map(|x| x * 6.0).collect();
        let range = observed(&values).range(Method::Mse).unwrap();
        assert!(range.high > 3.4 && range.high < 4.5, "{range:?}");
        assert!(range.low < -3.4 && range.low > -4.5, "{range:?}");
    }

    /// Half of the values behind `ReLU` are 0, which every range has exactly: they do not count.
    #[test]
    fn zeros_do_not_narrow_a_range() {
        let positive: Vec<f32> = bell(100_000).iter().map(|x| x.abs()).collect();
        let mut with_zeros = positive.clone();
        with_zeros.resize(300_000, 0.0);
        for method in [Method::Mse, Method::Entropy] {
            let [alone, among] =
                [&positive, &with_zeros].map(|values| observed(values).range(method).unwrap().high);
            assert!((alone - among).abs() < 0.02, "{method:?}: {alone} {among}");
            assert!(alone > 0.4, "{method:?}: {alone}");
        }
    }

    #[test]
    fn means_are_by_channel() {
        let mut observer = Observer::new(2, &[2]);
        observer
            .push("v", &[1.0, 2.0, 5.0, 7.0, 3.0, 4.0, 9.0, 11.0])
            .unwrap();
        assert_eq!(observer.means(), [2.5, 8.0]);
    }

    #[test]
    fn what_is_not_finite_is_refused_by_name() {
        let error = Observer::new(1, &[])
            .push("v", &[1.0, f32::NAN])
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the value `v` is NaN on a calibration image"
        );
        let error = Observer::new(1, &[])
            .push("v", &[f32::NEG_INFINITY])
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the value `v` is -inf on a calibration image"
        );
    }

    proptest! {
        #[test]
        fn ranges_are_within_the_values_and_contain_zero(
            parts in proptest::collection::vec(proptest::collection::vec(-1e3_f32..1e3, 1..40), 1..5), positive: bool,
        ) {
            let mut observer = Observer::new(1, &[]);
            let mut all = Vec::new();
            for part in &parts {
                let part: Vec<f32> = part.iter().map(|x| if positive { x.abs() } else { *x }).collect();
                observer.push("v", &part).unwrap();
                all.extend(part);
            }
            let low = all.iter().copied().fold(0.0, f32::min);
            let high = all.iter().copied().fold(0.0, f32::max);
            for method in [Method::MinMax, Method::Percentile(0.99), Method::Mse, Method::Entropy] {
                let range = observer.range(method).unwrap();
                prop_assert!(range.low >= low && range.low <= 0.0, "{method:?} {range:?}");
                prop_assert!(range.high <= high && range.high >= 0.0, "{method:?} {range:?}");
            }
            prop_assert_eq!(observer.bins.iter().sum::<u64>() + observer.zeros, all.len() as u64);
        }
    }
}
