//! Two models on the same images: who was right where the other was not.

use serde::{Deserialize, Serialize};

/// Images by which of two models classified them correctly: McNemar's table.
///
/// Where both are right or both are wrong nothing speaks for either model, so that whether one is
/// better is decided by the images that only one of them got right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Paired {
    /// Images that both classified correctly.
    pub both_right: u64,
    /// Images that only the first classified correctly.
    pub only_first: u64,
    /// Images that only the second classified correctly.
    pub only_second: u64,
    /// Images that neither classified correctly.
    pub both_wrong: u64,
    /// Images for which both gave the same class, right or wrong.
    pub same_class: u64,
}

impl Paired {
    /// Adds an image: its class, and what each model took it for.
    pub fn push(&mut self, label: usize, first: usize, second: usize) {
        let count = match (first == label, second == label) {
            (true, true) => &mut self.both_right,
            (true, false) => &mut self.only_first,
            (false, true) => &mut self.only_second,
            (false, false) => &mut self.both_wrong,
        };
        *count += 1;
        self.same_class += u64::from(first == second);
    }

    /// Number of images.
    pub fn images(&self) -> u64 {
        self.both_right + self.only_first + self.only_second + self.both_wrong
    }

    /// Share of the images that the first model classified correctly; NaN without images.
    pub fn first_accuracy(&self) -> f64 {
        self.share(self.both_right + self.only_first)
    }

    /// Share of the images that the second model classified correctly; NaN without images.
    pub fn second_accuracy(&self) -> f64 {
        self.share(self.both_right + self.only_second)
    }

    /// The second model's accuracy less the first's, computed from counts, so that nothing is lost to rounding; NaN
    /// without images.
    pub fn accuracy_change(&self) -> f64 {
        (self.only_second as f64 - self.only_first as f64) / self.images() as f64
    }

    /// Share of the images that both put into the same class; NaN without images.
    pub fn agreement(&self) -> f64 {
        self.share(self.same_class)
    }

    /// Computes how probable it is that models of equal accuracy differ in at least this many images:
    /// McNemar's exact test, two-sided.
    ///
    /// Of `n` images that only one model got right, each would be the first's with probability 1/2.
    /// It is 1 where `n` is 0.
    pub fn p_value(&self) -> f64 {
        let n = self.only_first + self.only_second;
        let fewer = self.only_first.min(self.only_second);
        // ln(n choose fewer), then the sum of the binomials below it relative to that one, largest
        // first.
        let largest: f64 = (0..fewer)
            .map(|i| ((n - i) as f64 / (i + 1) as f64).ln())
            .sum();
        let (mut sum, mut term) = (1.0, 1.0);
        for i in (1..=fewer).rev() {
            term *= i as f64 / (n - i + 1) as f64;
            sum += term;
            if term < 1e-17 * sum {
                break;
            }
        }
        let log = largest + f64::ln(sum) + (1.0 - n as f64) * std::f64::consts::LN_2;
        log.exp().min(1.0)
    }

    fn share(&self, count: u64) -> f64 {
        count as f64 / self.images() as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn differing(only_first: u64, only_second: u64) -> Paired {
        Paired {
            only_first,
            only_second,
            ..Paired::default()
        }
    }

    #[test]
    fn images_are_counted_by_who_was_right() {
        let mut paired = Paired::default();
        for (first, second) in [(0, 0), (0, 0), (0, 1), (2, 0), (2, 2), (1, 2)] {
            paired.push(0, first, second);
        }
        let expected = Paired {
            both_right: 2,
            only_first: 1,
            only_second: 1,
            both_wrong: 2,
            same_class: 3,
        };
        assert_eq!((paired, paired.images()), (expected, 6));
        assert_eq!(differing(1, 3).accuracy_change(), 0.5);
        assert_eq!(
            [
                paired.first_accuracy(),
                paired.second_accuracy(),
                paired.agreement()
            ],
            [0.5; 3]
        );
    }

    #[test]
    fn p_values_equal_scipy() {
        // scipy.stats.binomtest(k, n, 0.5).pvalue, SciPy 1.16
        let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 1e-11;
        assert!(near(differing(5, 1).p_value(), 0.21875));
        assert!(near(differing(2, 10).p_value(), 0.038_574_218_75));
        assert!(near(differing(0, 20).p_value(), 1.907_348_632_812_5e-6));
        assert!(
            [(0, 0), (1, 1), (7, 7), (8, 7)]
                .iter()
                .all(|&(a, b)| near(differing(a, b).p_value(), 1.0))
        );
    }

    #[test]
    fn many_images_neither_overflow_nor_take_long() {
        // 2 (1 - Phi(20)) = 5.5e-89 by the normal approximation.
        let p = differing(490_000, 510_000).p_value();
        assert!((5e-90..5e-88).contains(&p), "{p:e}");
        assert_eq!(differing(0, u64::from(u32::MAX)).p_value(), 0.0);
    }

    proptest! {
        #[test]
        fn p_values_are_symmetric_and_fall_with_the_difference(a in 0u64..300, b in 0u64..300) {
            let p = differing(a, b).p_value();
            prop_assert!((0.0..=1.0).contains(&p));
            prop_assert_eq!(p, differing(b, a).p_value());
            let (few, many) = (a.min(b), a.max(b));
            if few > 0 {
                // One image fewer on the smaller side, one more on the larger.
                prop_assert!(differing(few - 1, many + 1).p_value() <= p);
            }
        }
    }
}
