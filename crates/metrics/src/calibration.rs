//! Expected calibration error: how far confidence lies from accuracy.

use serde::{Deserialize, Serialize};

/// Number of bins, as in Guo et al. 2017.
const BINS: usize = 15;

/// Distance between a model's confidence, the probability of the predicted class, and its accuracy:
/// the expected calibration error of Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern
/// Neural Networks", 2017.
///
/// Images are put into 15 bins of equal width by their confidence, the m-th from `(m - 1) / 15`
/// (exclusive) to `m / 15` (inclusive). The error is `sum over bins of n_m / n * |accuracy_m -
/// confidence_m|`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Expected calibration error, 0 to 1.
    pub ece: f64,
    /// The 15 bins, from the least to the most confident.
    pub bins: Vec<CalibrationBin>,
}

/// Images of about the same confidence.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Number of images.
    pub images: u64,
    /// Their mean confidence, 0 to 1; 0 where there are none.
    pub confidence: f64,
    /// The share of them whose class was predicted, 0 to 1; 0 where there are none.
    pub accuracy: f64,
}

/// Sums over the images so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct CalibrationSums {
    bins: [Sums; BINS],
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Sums {
    images: u64,
    hits: u64,
    confidence: f64,
}

impl CalibrationSums {
    /// Counts one image.
    pub fn record(&mut self, confidence: f64, hit: bool) {
        let bin = &mut self.bins[bin(confidence)];
        bin.images += 1;
        bin.hits += u64::from(hit);
        bin.confidence += confidence;
    }

    pub fn add(&mut self, other: &Self) {
        for (own, other) in self.bins.iter_mut().zip(&other.bins) {
            own.images += other.images;
            own.hits += other.hits;
            own.confidence += other.confidence;
        }
    }

    /// Computes the error of at least one image.
    pub fn finish(&self) -> Calibration {
        let total: u64 = self.bins.iter().map(|sums| sums.images).sum();
        let mean = |sums: &Sums| match sums.images {
            0 => CalibrationBin::default(),
            images => CalibrationBin {
                images,
                confidence: sums.confidence / images as f64,
                accuracy: sums.hits as f64 / images as f64,
            },
        };
        let bins: Vec<CalibrationBin> = self.bins.iter().map(mean).collect();
        let gap = |bin: &CalibrationBin| {
            bin.images as f64 / total.max(1) as f64 * (bin.accuracy - bin.confidence).abs()
        };
        Calibration {
            ece: bins.iter().map(gap).sum(),
            bins,
        }
    }
}

/// Returns the bin of a confidence, 0 to 1.
fn bin(confidence: f64) -> usize {
    ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_have_their_upper_ends() {
        let found = [
            0.0,
            0.5 / 15.0,
            1.0 / 15.0,
            1.01 / 15.0,
            3.0 / 15.0,
            14.5 / 15.0,
            1.0,
        ]
        .map(bin);
        assert_eq!(found, [0, 0, 0, 1, 2, 14, 14]);
    }

    #[test]
    fn the_error_is_the_mean_gap() {
        let mut sums = CalibrationSums::default();
        // Three at 0.9, two of them right; one at 0.5, wrong: 3/4 * |2/3 - 0.9| + 1/4 * |0 - 0.5|.
        for (confidence, hit) in [(0.9, true), (0.9, true), (0.9, false), (0.5, false)] {
            sums.record(confidence, hit);
        }
        let calibration = sums.finish();
        assert!((calibration.ece - (0.75 * (0.9 - 2.0 / 3.0) + 0.25 * 0.5)).abs() < 1e-12);
        assert_eq!(
            calibration.bins.iter().map(|bin| bin.images).sum::<u64>(),
            4
        );
        assert_eq!(calibration.bins[13].accuracy, 2.0 / 3.0);
    }
}
