//! Selections of the samples of a dataset.

use std::sync::Arc;

use kiln_model::SplitRule;

use crate::stratify::{stratify, stratify_sets};
use crate::{DataError, Dataset};

/// A selection of a dataset's samples, in an order. Cheap to clone.
#[derive(Debug, Clone)]
pub struct View {
    dataset: Arc<Dataset>,
    indices: Arc<[u32]>,
}

impl View {
    /// Selects all samples of a dataset in its order.
    pub fn all(dataset: Arc<Dataset>) -> Self {
        let indices = (0..dataset.len() as u32).collect();
        Self { dataset, indices }
    }

    /// Returns the dataset.
    pub fn dataset(&self) -> &Arc<Dataset> {
        &self.dataset
    }

    /// Returns the indices of the samples in the dataset, from 0.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// Returns the number of samples.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Returns whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// Returns the label of each sample, in the view's order: the number of its set
    /// ([`Dataset::label_sets`]), which is its class where a sample has one.
    pub fn labels(&self) -> impl ExactSizeIterator<Item = u32> {
        self.indices
            .iter()
            .map(|&index| self.dataset.labels()[index as usize])
    }

    /// Counts the samples of each class, in the order of the dataset's classes; a sample counts for each that it has.
    pub fn class_counts(&self) -> Vec<usize> {
        let classes = self.dataset.classes().len();
        self.dataset
            .label_sets()
            .class_counts(classes, self.labels())
    }

    /// Sets a fraction of the samples aside; returns the rest, for training, and the fraction, for
    /// validation: as [`split_by`](Self::split_by) with what [`Split::new`] gives.
    pub fn split(&self, fraction: f64, seed: u64) -> Result<(Self, Self), DataError> {
        self.split_by(&Split::new(fraction, seed))
    }

    /// Sets a fraction of the samples aside; returns the rest and the fraction.
    ///
    /// Of the view's samples, `len * fraction`, rounded to the nearest, are drawn at random with every
    /// class in proportion; which classes get one more than others, where proportions are no whole
    /// numbers, is the seed's choice. A class of `c` images in a view of `n` then gives
    ///
    /// - at least one, if it is [`represented`](Split::represented) and more than
    ///   [`kept`](Split::kept) images: in addition to the others;
    /// - at most `c - kept`, and where that is nothing, at most `c - 1`: the only image of a class
    ///   stays.
    ///
    /// Where a sample can have several classes, the same holds for each class as closely as the others allow
    /// (iterative stratification: Sechidis and others, 2011).
    ///
    /// Each sample is in exactly one subset, and both keep the view's order. The split depends only on
    /// the labels and its arguments.
    ///
    /// # Errors
    ///
    /// [`DataError::Fraction`] if the fraction is not at least 0 and less than 1.
    pub fn split_by(&self, split: &Split<'_>) -> Result<(Self, Self), DataError> {
        if !(0.0..1.0).contains(&split.fraction) {
            return Err(DataError::Fraction {
                found: split.fraction,
            });
        }
        let n = (self.len() as f64 * split.fraction).round() as usize;
        let within = |class: usize, size: usize, quota: usize| match split.rule {
            SplitRule::ByLabel => quota,
            SplitRule::Seeded => split.within(class, size, quota),
        };
        let chosen = self.choose(n, split.seed, split.rule, &within);
        Ok((self.keep(&chosen, false), self.keep(&chosen, true)))
    }

    /// Selects at most `n` samples, drawn at random with every class in proportion, in the view's order.
    ///
    /// They depend only on the labels, `n` and the seed.
    #[must_use]
    pub fn take(&self, n: usize, seed: u64) -> Self {
        self.take_by(n, seed, SplitRule::default())
    }

    /// Selects samples as [`take`](Self::take) does, by the rule of a run.
    #[must_use]
    pub fn take_by(&self, n: usize, seed: u64, rule: SplitRule) -> Self {
        let chosen = self.choose(n, seed, rule, &|_, _, quota| quota);
        self.keep(&chosen, true)
    }

    /// Selects all samples but the first `count`.
    #[must_use]
    pub fn skip(&self, count: usize) -> Self {
        let indices = self.indices.iter().skip(count).copied().collect();
        Self {
            dataset: Arc::clone(&self.dataset),
            indices,
        }
    }

    fn choose(
        &self,
        n: usize,
        seed: u64,
        rule: SplitRule,
        within: &dyn Fn(usize, usize, usize) -> usize,
    ) -> Vec<bool> {
        let labels: Vec<u32> = self.labels().collect();
        let (sets, classes) = (self.dataset.label_sets(), self.dataset.classes().len());
        if sets.has_several() {
            return stratify_sets(&labels, sets, classes, n, seed, within);
        }
        stratify(&labels, classes, n, seed, rule, within)
    }

    /// Selects the samples marked with `mark`.
    fn keep(&self, marks: &[bool], mark: bool) -> Self {
        let indices = self
            .indices
            .iter()
            .zip(marks)
            .filter(|&(_, &m)| m == mark)
            .map(|(&index, _)| index)
            .collect();
        Self {
            dataset: Arc::clone(&self.dataset),
            indices,
        }
    }
}

/// How a fraction of a view is set aside.
#[derive(Debug, Clone, Copy)]
pub struct Split<'a> {
    /// The fraction: at least 0 and less than 1.
    pub fraction: f64,
    /// What decides which samples are drawn.
    pub seed: u64,
    /// Number of images that a class keeps, if it has more: 1, or 2 if another fraction is set aside
    /// of the rest.
    pub kept: usize,
    /// Whether each class is to have a sample in the fraction; none where there is no such list.
    pub represented: &'a [bool],
    /// The rule that a run was made by.
    pub rule: SplitRule,
}

impl Split<'_> {
    /// Sets a fraction aside that need not have all classes, and of which each class keeps an image.
    pub const fn new(fraction: f64, seed: u64) -> Self {
        Self {
            fraction,
            seed,
            kept: 1,
            represented: &[],
            rule: SplitRule::Seeded,
        }
    }

    /// Returns how many samples a class of this size gives, whose share is `quota`.
    fn within(&self, class: usize, size: usize, quota: usize) -> usize {
        let spare = size.saturating_sub(self.kept);
        let represented = self.represented.get(class) == Some(&true);
        let least = usize::from(spare > 0 && represented && self.fraction > 0.0);
        let most = if spare > 0 {
            spare
        } else {
            size.saturating_sub(1)
        };
        quota.clamp(least, most)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn view(labels: Vec<u32>) -> View {
        let classes = (0..5).map(|i| i.to_string()).collect();
        View::all(Arc::new(
            Dataset::new("d", vec![0; labels.len()], [1, 1, 1], labels, classes).unwrap(),
        ))
    }

    #[test]
    fn fractions_outside_the_range_are_refused() {
        for fraction in [-0.1, 1.0, f64::NAN, f64::INFINITY] {
            let error = view(vec![0, 1]).split(fraction, 0).unwrap_err().to_string();
            assert!(error.contains("at least 0 and less than 1"), "{error}");
        }
    }

    #[test]
    fn seeds_make_a_difference() {
        let view = view((0..100).map(|i| i % 5).collect());
        let chosen = |seed| view.take(20, seed).indices().to_vec();
        assert_ne!(chosen(1), chosen(2));
        assert_eq!(view.take(20, 1).class_counts(), [4; 5]);
        assert_eq!(view.take(1000, 1).len(), 100);
    }

    proptest! {
        #[test]
        fn splits_are_disjoint_exhaustive_stratified_and_repeatable(
            labels in prop::collection::vec(0..5u32, 1..300), fraction in 0.0..1.0, seed: u64,
        ) {
            let view = view(labels);
            let (train, validation) = view.split(fraction, seed).unwrap();
            let n = (view.len() as f64 * fraction).round() as usize;
            prop_assert!(validation.len() <= n && n <= validation.len() + 5, "a class keeps an image");
            prop_assert!(train.indices().is_sorted() && validation.indices().is_sorted());
            let mut together = [train.indices(), validation.indices()].concat();
            together.sort_unstable();
            prop_assert_eq!(&together[..], view.indices());
            for (part, whole) in validation.class_counts().into_iter().zip(view.class_counts()) {
                let exact = whole as f64 * n as f64 / view.len() as f64;
                prop_assert!((part as f64 - exact).abs() < 1.0 || part + 1 == whole);
                prop_assert!(part < whole || whole == 0);
            }
            let again = view.split(fraction, seed).unwrap();
            prop_assert_eq!(again.0.indices(), train.indices());
            prop_assert_eq!(again.1.indices(), validation.indices());
        }
    }

    /// A view of so many samples of each class.
    fn of_sizes(sizes: &[usize]) -> View {
        let labels = (0..).zip(sizes);
        let labels: Vec<u32> = labels
            .flat_map(|(label, &size)| vec![label; size])
            .collect();
        let classes = (0..sizes.len()).map(|i| i.to_string()).collect();
        View::all(Arc::new(
            Dataset::new("d", vec![0; labels.len()], [1, 1, 1], labels, classes).unwrap(),
        ))
    }

    #[test]
    fn the_seed_and_not_the_order_of_names_chooses_the_classes() {
        let view = of_sizes(&[5; 20]);
        let drawn = |seed| {
            let (_, part) = view.split(0.1, seed).unwrap();
            let counts = part.class_counts();
            assert_eq!(part.len(), 10);
            (0..20)
                .filter(|&class| counts[class] > 0)
                .collect::<Vec<_>>()
        };
        let first: Vec<usize> = (0..10).collect();
        assert!((0..3).all(|seed| drawn(seed) != first));
        assert_ne!(drawn(1), drawn(2));
        // Over many seeds, each class is drawn about as often as the others: 50 of 100 times, give or
        // take five standard deviations.
        let mut times = [0_usize; 20];
        for seed in 0..100 {
            for class in drawn(seed) {
                times[class] += 1;
            }
        }
        assert!(
            times.iter().all(|&times| times.abs_diff(50) <= 25),
            "{times:?}"
        );
        let taken = |seed| view.take(10, seed).class_counts();
        assert!(taken(0) != taken(1) && taken(1)[..10] != [1; 10]);
    }

    #[test]
    fn every_class_that_can_be_is_represented() {
        let view = of_sizes(&[1, 2, 3, 4, 5, 40]);
        for seed in 0..20 {
            for fraction in [0.01, 0.1, 0.5, 0.9] {
                let represented: Vec<bool> = view.class_counts().iter().map(|&c| c >= 3).collect();
                let split = Split {
                    kept: 2,
                    represented: &represented,
                    ..Split::new(fraction, seed)
                };
                let (rest, test) = view.split_by(&split).unwrap();
                let (train, validation) = rest.split_by(&Split { kept: 1, ..split }).unwrap();
                let parts = [&train, &validation, &test].map(View::class_counts);
                for class in 0..6 {
                    let counts = [0, 1, 2].map(|part| parts[part][class]);
                    assert!(counts[0] > 0, "{fraction} {seed}: {parts:?}");
                    assert!(
                        class < 2 || counts.iter().all(|&count| count > 0),
                        "{parts:?}"
                    );
                }
                assert_eq!(parts[0][0], 1, "the only image stays in training");
            }
        }
    }

    #[test]
    fn splits_of_ordinary_sizes_are_what_they_were() {
        // Of 100 and 300 images a tenth is 10 and 30, whatever the rule.
        let view = of_sizes(&[100, 300]);
        let drawn = |rule| {
            let represented = [true; 2];
            let split = Split {
                rule,
                represented: &represented,
                ..Split::new(0.1, 7)
            };
            let (train, validation) = view.split_by(&split).unwrap();
            assert_eq!(validation.class_counts(), [10, 30]);
            (train.indices().to_vec(), validation.indices().to_vec())
        };
        assert_eq!(drawn(SplitRule::ByLabel), drawn(SplitRule::Seeded));
        // Runs of before are drawn as they were: the first classes by name give one more.
        let small = of_sizes(&[5; 4]);
        let split = Split {
            rule: SplitRule::ByLabel,
            ..Split::new(0.1, 7)
        };
        let (_, validation) = small.split_by(&split).unwrap();
        assert_eq!(validation.class_counts(), [1, 1, 0, 0]);
        assert_eq!(
            small.take_by(2, 7, SplitRule::ByLabel).class_counts(),
            [1, 1, 0, 0]
        );
    }
}
