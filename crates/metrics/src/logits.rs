//! One image's row of logits: softmax, ranking and cross-entropy, each written once; and the sigmoid of one.

/// Computes probabilities from one image's logits: `exp(x[i]) / sum(exp(x))`, shape `[classes]`, each 0 to
/// 1.
///
/// Stable: the largest logit is subtracted first, so that nothing overflows. Computed in f64. A NaN
/// or `+inf` makes every probability NaN.
pub fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps: Vec<f64> = logits
        .iter()
        .map(|&x| (f64::from(x) - f64::from(largest)).exp())
        .collect();
    let sum: f64 = exps.iter().sum();
    exps.into_iter().map(|e| (e / sum) as f32).collect()
}

/// Computes the probability of a class by itself from its logit: `1 / (1 + exp(-x))`, 0 to 1. Computed in f64.
pub fn sigmoid(logit: f32) -> f32 {
    (1.0 / (1.0 + (-f64::from(logit)).exp())) as f32
}

/// Returns the class of the largest value; of equal ones the lowest, as numpy's `argmax`.
///
/// `None` if the row is empty or holds a NaN, since then no value is the largest.
pub fn argmax(row: &[f32]) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    for (class, &value) in row.iter().enumerate() {
        if value.is_nan() {
            return None;
        }
        if best.is_none_or(|(_, largest)| value > largest) {
            best = Some((class, value));
        }
    }
    best.map(|(class, _)| class)
}

/// Returns how many classes come before `class` when they are sorted by value, largest first, and of equal
/// ones the lowest class first. The row must hold no NaN.
pub(crate) fn rank(row: &[f32], class: usize) -> usize {
    let own = row[class];
    let (lower, higher) = row.split_at(class);
    lower.iter().filter(|&&value| value >= own).count()
        + higher.iter().filter(|&&value| value > own).count()
}

/// Cross-entropy in nats of one image's finite logits against its true class: `log(sum(exp(x))) -
/// x[class]`.
///
/// With the largest logit `m` taken out it is `(m - x[class]) + ln_1p(sum of the other exp(x -
/// m))`, which neither overflows nor loses a loss far below 1. In f64. `predicted` is the class of
/// the largest logit.
pub(crate) fn cross_entropy(row: &[f32], class: usize, predicted: usize) -> f64 {
    (f64::from(row[predicted]) - f64::from(row[class])) + others(row, predicted).ln_1p()
}

/// The probability of the class of the largest of one image's finite logits. In f64.
pub(crate) fn confidence(row: &[f32], predicted: usize) -> f64 {
    1.0 / (1.0 + others(row, predicted))
}

/// Sum of `exp(x - m)` over all logits but the largest, `m`.
fn others(row: &[f32], predicted: usize) -> f64 {
    let largest = f64::from(row[predicted]);
    row.iter()
        .enumerate()
        .filter(|&(c, _)| c != predicted)
        .map(|(_, &x)| (f64::from(x) - largest).exp())
        .sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows() -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec(-30.0f32..30.0, 1..40)
    }

    #[test]
    fn softmax_of_huge_logits_does_not_overflow() {
        assert_eq!(softmax(&[3e38, 3e38, -3e38]), [0.5, 0.5, 0.0]);
        assert!(softmax(&[]).is_empty());
        assert!(softmax(&[f32::NAN, 1.0]).iter().all(|p| p.is_nan()));
    }

    #[test]
    fn equal_values_go_to_the_lowest_class() {
        assert_eq!(argmax(&[1.0, 7.0, 7.0]), Some(1));
        assert_eq!(argmax(&[-0.0, 0.0]), Some(0));
        assert_eq!(
            [0, 1, 2, 3].map(|class| rank(&[-0.0, 0.0, 3.0, 0.0], class)),
            [1, 2, 0, 3]
        );
    }

    #[test]
    fn there_is_no_largest_among_nothing_or_nan() {
        for row in [&[][..], &[1.0, f32::NAN]] {
            assert_eq!(argmax(row), None);
        }
        assert_eq!(argmax(&[f32::NEG_INFINITY, f32::NEG_INFINITY]), Some(0));
    }

    #[test]
    fn tiny_losses_are_not_rounded_to_zero() {
        let loss = cross_entropy(&[50.0, 0.0], 0, 0);
        assert!((loss / (-50.0f64).exp() - 1.0).abs() < 1e-12, "{loss}");
    }

    proptest! {
        #[test]
        fn softmax_sums_to_one_and_ignores_a_shift(row in rows(), shift in -64i8..64) {
            let p = softmax(&row);
            prop_assert!((p.iter().map(|&p| f64::from(p)).sum::<f64>() - 1.0).abs() < 1e-6);
            // Multiples of 1/256 below 128 add exactly in f32: the shifted logits differ by exactly
            // the shift.
            let grid: Vec<f32> = row.iter().map(|x| (x * 256.0).round() / 256.0).collect();
            let shifted: Vec<f32> = grid.iter().map(|x| x + f32::from(shift)).collect();
            prop_assert_eq!(softmax(&grid), softmax(&shifted));
        }

        #[test]
        fn cross_entropy_equals_minus_log_softmax(row in rows(), pick: prop::sample::Index) {
            let class = pick.index(row.len());
            let naive: f64 = row.iter().map(|&x| f64::from(x).exp()).sum::<f64>().ln() - f64::from(row[class]);
            let predicted = argmax(&row).unwrap();
            let probability = f64::from(softmax(&row)[predicted]);
            prop_assert!((confidence(&row, predicted) - probability).abs() < 1e-6);
            prop_assert!((cross_entropy(&row, class, predicted) - naive).abs() < 1e-12 * naive.abs().max(64.0));
        }

        #[test]
        fn ranks_are_those_of_a_stable_sort(row in prop::collection::vec(-3i8..3, 1..20)) {
            let mut order: Vec<usize> = (0..row.len()).collect();
            order.sort_by_key(|&class| std::cmp::Reverse(row[class]));
            let row: Vec<f32> = row.into_iter().map(f32::from).collect();
            prop_assert_eq!(argmax(&row), Some(order[0]));
            for (place, &class) in order.iter().enumerate() {
                prop_assert_eq!(rank(&row, class), place);
            }
        }
    }
}
