//! Whether two implementations of one model compute the same.

use serde::{Deserialize, Serialize};

use crate::MetricsError;
use crate::logits::argmax;

/// Differences between the outputs of two implementations; empty at first, filled batch by batch.
///
/// Each image is judged by its own scores: it agrees if none of them differs by more than
/// [`Tolerance::of`] these scores. Its top class may then still be another one, if two of its
/// scores are nearly equal: with `t` the tolerance, the reference's scores of the two classes are
/// at most `2 t` apart, a tie as far as either implementation can tell.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Agreement {
    /// Number of images compared.
    pub images: u64,
    /// Number of images that agree; 0 in files of early versions.
    #[serde(default)]
    pub agreeing: u64,
    /// Number of images that agree and of which the top class is another one all the same: ties
    /// within the tolerance.
    #[serde(default)]
    pub ties: u64,
    /// Number of images of which both have the same largest output (of equal ones the lowest
    /// class).
    pub same_top: u64,
    /// Largest `|a - b|` over all outputs.
    pub max_absolute: f64,
    /// Largest `|a - b| / max(m, 1)` over all outputs, `m` being the largest `|a|` or `|b|` of the
    /// same image.
    ///
    /// An image's scores are sums of the same activations, so that rounding errors grow with those
    /// and are alike for all of its scores: a score near zero is what large terms left that
    /// cancelled, and a difference relative to it means nothing. This is the relative error in the
    /// maximum norm, in which the error of a matrix product is bounded (Higham, *Accuracy and
    /// Stability of Numerical Algorithms*, section 3.5).
    ///
    /// One is logits' natural unit: softmax depends on differences of logits, and a difference of 1
    /// is a factor of e. Below it the relative difference is therefore the absolute one, and it
    /// never exceeds the absolute one.
    pub max_relative: f64,
    /// The image, counted from 0, with the largest absolute difference: the first of them; `None`
    /// if nothing differs.
    pub worst_image: Option<u64>,
}

/// Largest differences between outputs that pass.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tolerance {
    /// Largest absolute difference that passes, in the unit of the outputs.
    pub absolute: f64,
    /// Largest difference that passes as a share of the image's largest score, where that is more
    /// than the absolute one: rounding grows with the scores.
    pub relative: f64,
}

impl Tolerance {
    /// Computes how far the scores of an image may lie apart: `max(absolute, relative * m)`, `m` being the
    /// largest absolute value among these scores, those of one implementation or of both, and at
    /// least 1.
    pub fn of<'a>(self, scores: impl IntoIterator<Item = &'a f32>) -> f64 {
        self.absolute.max(self.relative * largest(scores))
    }
}

/// The largest absolute value, at least 1.
fn largest<'a>(scores: impl IntoIterator<Item = &'a f32>) -> f64 {
    scores
        .into_iter()
        .fold(1.0, |largest, &score| f64::from(score).abs().max(largest))
}

impl Agreement {
    /// Compares two outputs of the same images, each row-major `[images, classes]`, all finite.
    pub fn between(
        a: &[f32],
        b: &[f32],
        classes: usize,
        tolerance: Tolerance,
    ) -> Result<Self, MetricsError> {
        let mut agreement = Self::default();
        agreement.push(a, b, classes, tolerance)?;
        Ok(agreement)
    }

    /// Adds a batch: two outputs of the same images, each row-major `[images, classes]`, all
    /// finite.
    ///
    /// A batch that is refused leaves no trace.
    pub fn push(
        &mut self,
        a: &[f32],
        b: &[f32],
        classes: usize,
        tolerance: Tolerance,
    ) -> Result<(), MetricsError> {
        if classes == 0 {
            return Err(MetricsError::Classes { found: 0 });
        }
        if a.len() != b.len() {
            return Err(MetricsError::Lengths {
                left: a.len(),
                right: b.len(),
            });
        }
        if !a.len().is_multiple_of(classes) {
            return Err(MetricsError::PartialRow {
                values: a.len(),
                classes,
            });
        }
        let mut next = *self;
        for (a, b) in a.chunks_exact(classes).zip(b.chunks_exact(classes)) {
            next.push_image(a, b, tolerance)?;
        }
        *self = next;
        Ok(())
    }

    /// Adds a comparison of further images; they are counted on from this one's.
    pub fn merge(&mut self, later: &Self) {
        // The first of equally bad images stays the worst.
        if later.max_absolute > self.max_absolute {
            self.max_absolute = later.max_absolute;
            self.worst_image = later
                .worst_image
                .map(|image| self.images.saturating_add(image));
        }
        self.max_relative = self.max_relative.max(later.max_relative);
        self.images = self.images.saturating_add(later.images);
        self.agreeing = self.agreeing.saturating_add(later.agreeing);
        self.ties = self.ties.saturating_add(later.ties);
        self.same_top = self.same_top.saturating_add(later.same_top);
    }

    /// Returns whether images were compared and all of them agree.
    pub fn passes(&self) -> bool {
        self.images > 0 && self.agreeing == self.images
    }

    /// Returns the worst agreement: of images for which one implementation gave no number.
    pub fn none(images: u64) -> Self {
        let worst = f64::MAX;
        Self {
            images,
            agreeing: 0,
            ties: 0,
            same_top: 0,
            max_absolute: worst,
            max_relative: worst,
            worst_image: Some(0),
        }
    }

    fn push_image(
        &mut self,
        a: &[f32],
        b: &[f32],
        tolerance: Tolerance,
    ) -> Result<(), MetricsError> {
        let image = self.images;
        let mut own = Self {
            images: 1,
            ..Self::default()
        };
        for (class, (&x, &y)) in a.iter().zip(b).enumerate() {
            if let Some(value) = [x, y].into_iter().find(|value| !value.is_finite()) {
                return Err(MetricsError::NotFinite {
                    image,
                    class,
                    value,
                });
            }
            let (x, y) = (f64::from(x), f64::from(y));
            let difference = (x - y).abs();
            if difference > own.max_absolute {
                own.max_absolute = difference;
                own.worst_image = Some(0);
            }
        }
        let (agrees, same_top) = (
            own.max_absolute <= tolerance.of(a.iter().chain(b)),
            argmax(a) == argmax(b),
        );
        own.max_relative = own.max_absolute / largest(a.iter().chain(b));
        own.agreeing = u64::from(agrees);
        own.same_top = u64::from(same_top);
        own.ties = u64::from(agrees && !same_top);
        self.merge(&own);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOLERANCE: Tolerance = Tolerance {
        absolute: 1e-4,
        relative: 1e-5,
    };

    fn between(a: &[f32], b: &[f32], classes: usize) -> Agreement {
        Agreement::between(a, b, classes, TOLERANCE).unwrap()
    }

    #[test]
    fn finds_the_worst_image() {
        let a = [1.0, 2.0, 3.0, 1.0, 0.0, 0.0];
        let b = [1.0, 2.25, 3.0, 4.0, 0.0, 0.0];
        let expected = Agreement {
            images: 3,
            agreeing: 1,
            ties: 0,
            same_top: 2,
            max_absolute: 3.0,
            max_relative: 0.75,
            worst_image: Some(1),
        };
        assert_eq!(between(&a, &b, 2), expected);
        let passes = |absolute| {
            Agreement::between(
                &a,
                &b,
                2,
                Tolerance {
                    absolute,
                    relative: 0.0,
                },
            )
            .unwrap()
            .passes()
        };
        assert!(passes(3.0) && !passes(2.9));
    }

    #[test]
    fn logits_near_zero_do_not_dominate_the_relative_difference() {
        assert_eq!(
            between(&[1e-7, 10.0], &[-1e-7, 10.5], 2).max_relative,
            0.5 / 10.5
        );
    }

    #[test]
    fn each_image_is_judged_by_its_own_scores() {
        // As between tract and ONNX Runtime on the fine-tuned VGG16: rounding, beside an image's
        // largest score.
        let large = ([40.0, 1.5], [40.0, 1.5 + 1.5e-4]);
        let small = ([5.0, 1.5], [5.0, 1.5 + 8e-5]);
        let both = |[a, b]: [([f32; 2], [f32; 2]); 2]| {
            between(&[a.0, b.0].concat(), &[a.1, b.1].concat(), 2)
        };
        // Beyond 1e-4 and within 1e-5 of the largest score; the other is beyond 1e-5 of it and
        // within 1e-4.
        let found = both([large, small]);
        assert!(
            found.max_absolute > TOLERANCE.absolute && found.max_relative > TOLERANCE.relative,
            "{found:?}"
        );
        assert!(
            found.passes()
                && between(&large.0, &large.1, 2).passes()
                && between(&small.0, &small.1, 2).passes()
        );
        // Large scores of another image excuse nothing.
        let off = ([3.0, 1.5], [3.0, 1.5 + 1.5e-4]);
        let found = both([large, off]);
        assert!(!found.passes() && found.agreeing == 1, "{found:?}");
    }

    #[test]
    fn another_top_class_is_a_tie_within_the_tolerance_and_a_difference_beyond_it() {
        let tie = between(&[1.0, 1.000_01, 0.0], &[1.000_01, 1.0, 0.0], 3);
        assert!(
            tie.passes() && (tie.same_top, tie.ties) == (0, 1),
            "{tie:?}"
        );
        let other = between(&[1.0, 1.001, 0.0], &[1.001, 1.0, 0.0], 3);
        assert!(
            !other.passes() && (other.same_top, other.ties) == (0, 0),
            "{other:?}"
        );
    }

    #[test]
    fn nothing_compared_does_not_pass() {
        assert!(!Agreement::default().passes());
        let equal = |absolute, relative| {
            Agreement::between(&[1.0], &[1.0], 1, Tolerance { absolute, relative }).unwrap()
        };
        assert!(equal(0.0, 0.0).passes());
        assert!(!equal(f64::NAN, f64::NAN).passes());
        assert_eq!(equal(0.0, 0.0).worst_image, None);
        assert!(!Agreement::none(1).passes());
    }

    #[test]
    fn refused_batches_leave_no_trace() {
        let mut agreement = between(&[1.0, 2.0], &[1.0, 2.5], 2);
        let before = agreement;
        let errors = [
            agreement.push(&[1.0; 4], &[9.0, 1.0, f32::INFINITY, 1.0], 2, TOLERANCE),
            agreement.push(&[1.0], &[1.0, 2.0], 2, TOLERANCE),
            agreement.push(&[1.0], &[1.0], 2, TOLERANCE),
            agreement.push(&[], &[], 0, TOLERANCE),
        ];
        let expected = [
            MetricsError::NotFinite {
                image: 2,
                class: 0,
                value: f32::INFINITY,
            },
            MetricsError::Lengths { left: 1, right: 2 },
            MetricsError::PartialRow {
                values: 1,
                classes: 2,
            },
            MetricsError::Classes { found: 0 },
        ];
        assert_eq!(errors, expected.map(Err));
        assert_eq!(agreement, before);
    }

    /// Two outputs of a few images of three classes: scores that are large or small, some of them
    /// nearly equal, that differ by about as much as is allowed.
    fn outputs() -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
        let image = (prop::array::uniform3(-1.0f32..1.0), 0..3_i8, 0..2_i8).prop_map(
            |(scores, scale, close)| {
                let spread = if close == 1 { 1e-4 } else { 1.0 };
                scores.map(|score| (1.0 + score * spread) * 10_f32.powi(scale.into()))
            },
        );
        let pair = (image, prop::array::uniform3(-2e-4f32..2e-4)).prop_map(|(scores, noise)| {
            (
                scores,
                std::array::from_fn::<_, 3, _>(|class| scores[class] + noise[class]),
            )
        });
        prop::collection::vec(pair, 1..12).prop_map(|pairs| {
            let (a, b): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            (a.concat(), b.concat())
        })
    }

    proptest! {
        #[test]
        fn is_symmetric_and_merges((a, b) in outputs(), cut: prop::sample::Index) {
            let whole = between(&a, &b, 3);
            prop_assert_eq!(whole, between(&b, &a, 3));
            prop_assert!(whole.max_relative <= whole.max_absolute && whole.same_top <= whole.images);

            let at = cut.index(a.len() / 3 + 1) * 3;
            let mut merged = between(&a[..at], &b[..at], 3);
            merged.merge(&between(&a[at..], &b[at..], 3));
            prop_assert_eq!(merged, whole);
        }

        #[test]
        fn all_images_pass_exactly_if_each_of_them_does((a, b) in outputs()) {
            let images = a.chunks_exact(3).zip(b.chunks_exact(3));
            let each: Vec<bool> = images.map(|(a, b)| between(a, b, 3).passes()).collect();
            let whole = between(&a, &b, 3);
            prop_assert_eq!(whole.passes(), each.iter().all(|&passes| passes));
            prop_assert_eq!(whole.agreeing, each.iter().filter(|&&passes| passes).count() as u64);
        }

        #[test]
        fn where_images_agree_another_top_class_is_a_tie((a, b) in outputs()) {
            for (a, b) in a.chunks_exact(3).zip(b.chunks_exact(3)) {
                let (found, allowed) = (between(a, b, 3), TOLERANCE.of(a.iter().chain(b)));
                let largest = a.iter().chain(b).fold(1.0_f64, |largest, &score| largest.max(f64::from(score).abs()));
                prop_assert_eq!(found.passes(), found.max_absolute <= 1e-4_f64.max(1e-5 * largest));
                let [first, second] = [a, b].map(|scores| argmax(scores).unwrap());
                let gap = f64::from(a[first]) - f64::from(a[second]);
                prop_assert!(!found.passes() || gap <= 2.0 * allowed, "{} {}", gap, allowed);
                prop_assert_eq!(found.ties == 1, found.passes() && first != second);
            }
        }
    }
}
