//! The scores of a batch.

use std::time::Duration;

use kiln_model::OutputKind;

/// The scores of a batch: the graph's first output, as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// `[images, classes]` in row-major order; every value is finite.
    pub data: Vec<f32>,
    /// Number of classes, at least one.
    pub classes: usize,
    /// What the scores are.
    pub kind: OutputKind,
    /// Time that the engine took for the batch.
    pub inference: Duration,
}

impl Scores {
    /// Returns the scores of each image; none where `classes` was set to 0.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        let data = if self.classes == 0 {
            &[][..]
        } else {
            &self.data
        };
        data.chunks_exact(self.classes.max(1))
    }

    /// Returns probabilities `[images, classes]` in row-major order: the scores, after a softmax where they
    /// are logits.
    pub fn probabilities(&self) -> Vec<f32> {
        let mut data = self.data.clone();
        if self.kind == OutputKind::Logits {
            data.chunks_exact_mut(self.classes.max(1)).for_each(softmax);
        }
        data
    }
}

/// Softmax in place. The largest value is subtracted first, so that no exponential overflows; the
/// sum is taken in f64.
///
/// Not that of `kiln-metrics`, whose exponentials are in f64: files of predictions are compared and
/// resumed by what this one gives, to the last bit.
fn softmax(row: &mut [f32]) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0_f64;
    for value in &mut *row {
        *value = (*value - max).exp();
        sum += f64::from(*value);
    }
    for value in row {
        *value = (f64::from(*value) / sum) as f32;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn probabilities(data: &[f32], kind: OutputKind) -> Vec<f32> {
        Scores {
            data: data.to_vec(),
            classes: data.len(),
            kind,
            inference: Duration::ZERO,
        }
        .probabilities()
    }

    #[test]
    fn softmax_is_applied_to_logits_only() {
        let even = probabilities(&[2.0, 2.0], OutputKind::Logits);
        assert_eq!(even, [0.5, 0.5]);
        let e = std::f64::consts::E;
        let two = probabilities(&[1.0, 0.0], OutputKind::Logits);
        assert!((f64::from(two[0]) - e / (e + 1.0)).abs() < 1e-7);
        assert_eq!(
            probabilities(&[0.25, 0.75], OutputKind::Probabilities),
            [0.25, 0.75]
        );
    }

    #[test]
    fn extreme_logits_do_not_overflow() {
        assert_eq!(
            probabilities(&[f32::MAX, f32::MIN], OutputKind::Logits),
            [1.0, 0.0]
        );
        assert_eq!(
            probabilities(&[f32::MIN, f32::MIN], OutputKind::Logits),
            [0.5, 0.5]
        );
    }

    #[test]
    fn scores_of_no_classes_have_no_rows() {
        let scores = Scores {
            data: vec![1.0, 2.0],
            classes: 0,
            kind: OutputKind::Logits,
            inference: Duration::ZERO,
        };
        assert_eq!((scores.rows().len(), scores.probabilities().len()), (0, 2));
    }

    proptest! {
        #[test]
        fn a_softmax_sums_to_one_and_keeps_the_order(row in prop::collection::vec(-100.0_f32..100.0, 1..50)) {
            let out = probabilities(&row, OutputKind::Logits);
            let sum: f64 = out.iter().map(|&p| f64::from(p)).sum();
            prop_assert!((sum - 1.0).abs() < 1e-6, "{sum}");
            for (a, b) in row.iter().zip(&out).flat_map(|a| row.iter().zip(&out).map(move |b| (a, b))) {
                prop_assert!(a.0 < b.0 || a.1 >= b.1);
            }
        }
    }
}
