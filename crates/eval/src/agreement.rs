//! Whether two implementations of one model compute the same.

use serde::{Deserialize, Serialize};

use crate::EvalError;
use crate::logits::argmax;

/// How far the outputs of two implementations lie apart; empty at first, filled batch by batch.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Agreement {
    /// Number of images compared.
    pub images: u64,
    /// Number of images of which both have the same largest output (of equal ones the lowest class).
    pub same_top: u64,
    /// Largest `|a - b|` over all outputs.
    pub max_absolute: f64,
    /// Largest `|a - b| / max(m, 1)` over all outputs, `m` being the largest `|a|` or `|b|` of the same image.
    ///
    /// An image's scores are sums of the same activations, so that rounding errors grow with those and are alike for all
    /// of its scores: a score near zero is what large terms left that cancelled, and a difference relative to it means
    /// nothing. This is the relative error in the maximum norm, in which the error of a matrix product is bounded
    /// (Higham, *Accuracy and Stability of Numerical Algorithms*, section 3.5).
    ///
    /// One is logits' natural unit: softmax depends on differences of logits, and a difference of 1 is a factor of e.
    /// Below it the relative difference is therefore the absolute one, and it never exceeds the absolute one.
    pub max_relative: f64,
    /// The image, counted from 0, with the largest absolute difference: the first of them; `None` if nothing differs.
    pub worst_image: Option<u64>,
}

/// How far outputs may lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tolerance {
    /// Largest absolute difference that passes, in the unit of the outputs.
    pub absolute: f64,
    /// Largest relative difference that passes even if the absolute one is larger: rounding grows with the scores.
    pub relative: f64,
}

impl Agreement {
    /// Compares two outputs of the same images, each row-major `[images, classes]`, all finite.
    pub fn between(a: &[f32], b: &[f32], classes: usize) -> Result<Self, EvalError> {
        let mut agreement = Self::default();
        agreement.push(a, b, classes)?;
        Ok(agreement)
    }

    /// Adds a batch: two outputs of the same images, each row-major `[images, classes]`, all finite.
    ///
    /// A batch that is refused leaves no trace.
    pub fn push(&mut self, a: &[f32], b: &[f32], classes: usize) -> Result<(), EvalError> {
        if classes == 0 {
            return Err(EvalError::Classes { found: 0 });
        }
        if a.len() != b.len() {
            return Err(EvalError::Lengths { left: a.len(), right: b.len() });
        }
        if !a.len().is_multiple_of(classes) {
            return Err(EvalError::PartialRow { values: a.len(), classes });
        }
        let mut next = *self;
        for (a, b) in a.chunks_exact(classes).zip(b.chunks_exact(classes)) {
            next.push_image(a, b)?;
        }
        *self = next;
        Ok(())
    }

    /// Adds a comparison of further images; they are counted on from this one's.
    pub fn merge(&mut self, later: &Self) {
        // The first of equally bad images stays the worst.
        if later.max_absolute > self.max_absolute {
            self.max_absolute = later.max_absolute;
            self.worst_image = later.worst_image.map(|image| self.images.saturating_add(image));
        }
        self.max_relative = self.max_relative.max(later.max_relative);
        self.images = self.images.saturating_add(later.images);
        self.same_top = self.same_top.saturating_add(later.same_top);
    }

    /// Whether images were compared and none differs by more than the tolerance.
    pub fn passes(&self, tolerance: Tolerance) -> bool {
        self.images > 0 && (self.max_absolute <= tolerance.absolute || self.max_relative <= tolerance.relative)
    }

    /// The worst that there is: of images for which one implementation gave no number.
    pub fn none(images: u64) -> Self {
        let worst = f64::MAX;
        Self { images, same_top: 0, max_absolute: worst, max_relative: worst, worst_image: Some(0) }
    }

    fn push_image(&mut self, a: &[f32], b: &[f32]) -> Result<(), EvalError> {
        let image = self.images;
        let largest = a.iter().chain(b).fold(1.0_f64, |largest, &value| largest.max(f64::from(value).abs()));
        let mut own = Self { images: 1, same_top: u64::from(argmax(a) == argmax(b)), ..Self::default() };
        for (class, (&x, &y)) in a.iter().zip(b).enumerate() {
            if let Some(value) = [x, y].into_iter().find(|value| !value.is_finite()) {
                return Err(EvalError::NotFinite { image, class, value });
            }
            let (x, y) = (f64::from(x), f64::from(y));
            let difference = (x - y).abs();
            if difference > own.max_absolute {
                own.max_absolute = difference;
                own.worst_image = Some(0);
            }
        }
        own.max_relative = own.max_absolute / largest;
        self.merge(&own);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finds_the_worst_image() {
        let a = [1.0, 2.0, 3.0, 1.0, 0.0, 0.0];
        let b = [1.0, 2.25, 3.0, 4.0, 0.0, 0.0];
        let found = Agreement::between(&a, &b, 2).unwrap();
        let expected =
            Agreement { images: 3, same_top: 2, max_absolute: 3.0, max_relative: 0.75, worst_image: Some(1) };
        assert_eq!(found, expected);
        assert!(found.passes(Tolerance { absolute: 3.0, relative: 0.0 }));
        assert!(!found.passes(Tolerance { absolute: 2.9, relative: 0.0 }));
    }

    #[test]
    fn logits_near_zero_do_not_dominate_the_relative_difference() {
        let found = Agreement::between(&[1e-7, 10.0], &[-1e-7, 10.5], 2).unwrap();
        assert_eq!(found.max_relative, 0.5 / 10.5);
    }

    #[test]
    fn differences_are_relative_to_the_scores_of_the_same_image() {
        // As between tract and ONNX Runtime on the fine-tuned VGG16: rounding, beside an image's score of 27.5.
        let one = [27.5, 1.5];
        let other = [27.5, 1.5 + 1.42e-4];
        let found = Agreement::between(&one, &other, 2).unwrap();
        assert!(found.max_absolute > 1.4e-4 && found.max_relative < 5.2e-6, "{found:?}");
        // Large scores of another image excuse nothing.
        let found =
            Agreement::between(&[&one[..], &[3.0, 1.5]].concat(), &[&one[..], &[3.0, 1.5 + 1.42e-4]].concat(), 2);
        let found = found.unwrap();
        assert!(found.max_relative > 4.7e-5, "{found:?}");
        assert!(!found.passes(Tolerance { absolute: 1e-4, relative: 1e-5 }));
    }

    #[test]
    fn large_values_may_differ_by_more() {
        let found = Agreement::between(&[1000.0], &[1000.004], 1).unwrap();
        assert!(!found.passes(Tolerance { absolute: 1e-4, relative: 1e-6 }));
        assert!(found.passes(Tolerance { absolute: 1e-4, relative: 1e-5 }));
    }

    #[test]
    fn nothing_compared_does_not_pass() {
        assert!(!Agreement::default().passes(Tolerance { absolute: 1.0, relative: 0.0 }));
        let equal = Agreement::between(&[1.0], &[1.0], 1).unwrap();
        assert!(equal.passes(Tolerance { absolute: 0.0, relative: 0.0 }));
        assert!(!equal.passes(Tolerance { absolute: f64::NAN, relative: f64::NAN }));
        assert_eq!(equal.worst_image, None);
    }

    #[test]
    fn refused_batches_leave_no_trace() {
        let mut agreement = Agreement::between(&[1.0, 2.0], &[1.0, 2.5], 2).unwrap();
        let before = agreement;
        let errors = [
            agreement.push(&[1.0; 4], &[9.0, 1.0, f32::INFINITY, 1.0], 2),
            agreement.push(&[1.0], &[1.0, 2.0], 2),
            agreement.push(&[1.0], &[1.0], 2),
            agreement.push(&[], &[], 0),
        ];
        let expected = [
            EvalError::NotFinite { image: 2, class: 0, value: f32::INFINITY },
            EvalError::Lengths { left: 1, right: 2 },
            EvalError::PartialRow { values: 1, classes: 2 },
            EvalError::Classes { found: 0 },
        ];
        assert_eq!(errors, expected.map(Err));
        assert_eq!(agreement, before);
    }

    proptest! {
        #[test]
        fn is_symmetric_and_merges(
            pairs in prop::collection::vec((-50.0f32..50.0, -50.0f32..50.0), 0..30).prop_map(|mut p| {
                p.truncate(p.len() / 3 * 3);
                p
            }),
            cut: prop::sample::Index,
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let whole = Agreement::between(&a, &b, 3).unwrap();
            prop_assert_eq!(whole, Agreement::between(&b, &a, 3).unwrap());
            prop_assert!(whole.max_relative <= whole.max_absolute && whole.same_top <= whole.images);

            let at = cut.index(a.len() / 3 + 1) * 3;
            let mut merged = Agreement::between(&a[..at], &b[..at], 3).unwrap();
            merged.merge(&Agreement::between(&a[at..], &b[at..], 3).unwrap());
            prop_assert_eq!(merged, whole);
        }
    }
}
