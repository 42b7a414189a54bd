//! Selections of the samples of a dataset.

use std::sync::Arc;

use rand::seq::SliceRandom;

use crate::random::{Use, generator};
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

    /// Returns the label of each sample, in the view's order.
    pub fn labels(&self) -> impl ExactSizeIterator<Item = u32> {
        self.indices
            .iter()
            .map(|&index| self.dataset.labels()[index as usize])
    }

    /// Counts the samples of each class, in the order of the dataset's classes.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.dataset.classes().len()];
        for label in self.labels() {
            counts[label as usize] += 1;
        }
        counts
    }

    /// Sets a fraction of the samples aside; returns the rest, for training, and the fraction, for
    /// validation.
    ///
    /// The validation subset has `len * validation_fraction` samples, rounded to the nearest, drawn
    /// at random with every class in proportion. Each sample is in exactly one subset, and both
    /// keep the view's order. The split depends only on the labels, the fraction and the seed. The
    /// fraction is at least 0 and less than 1.
    pub fn split(&self, validation_fraction: f64, seed: u64) -> Result<(Self, Self), DataError> {
        if !(0.0..1.0).contains(&validation_fraction) {
            return Err(DataError::Fraction {
                found: validation_fraction,
            });
        }
        let n = (self.len() as f64 * validation_fraction).round() as usize;
        let chosen = self.choose(n, seed);
        Ok((self.keep(&chosen, false), self.keep(&chosen, true)))
    }

    /// Selects at most `n` samples, drawn at random with every class in proportion, in the view's order.
    ///
    /// They depend only on the labels, `n` and the seed.
    #[must_use]
    pub fn take(&self, n: usize, seed: u64) -> Self {
        self.keep(&self.choose(n, seed), true)
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

    fn choose(&self, n: usize, seed: u64) -> Vec<bool> {
        let labels: Vec<u32> = self.labels().collect();
        stratify(&labels, self.dataset.classes().len(), n, seed)
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

/// Marks `n` of the samples with these labels, at random, each class in proportion to its size.
///
/// A class of `c` among `t` samples gets `n * c / t` marks, rounded down or up: up for the largest
/// remainders (Hamilton's method; of equal ones, the lower label). The marks depend only on the
/// arguments. At most all samples are marked.
fn stratify(labels: &[u32], classes: usize, n: usize, seed: u64) -> Vec<bool> {
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); classes];
    for (position, &label) in labels.iter().enumerate() {
        members[label as usize].push(position);
    }
    let sizes: Vec<usize> = members.iter().map(Vec::len).collect();
    let mut rng = generator(seed, Use::Selection);
    let mut marks = vec![false; labels.len()];
    for (members, quota) in members.iter_mut().zip(quotas(&sizes, n.min(labels.len()))) {
        members.shuffle(&mut rng);
        for &position in &members[..quota] {
            marks[position] = true;
        }
    }
    marks
}

/// `n`, at most the sum of `sizes`, divided in proportion to `sizes`.
fn quotas(sizes: &[usize], n: usize) -> Vec<usize> {
    let total = sizes.iter().sum::<usize>().max(1) as u128;
    let share = |size: usize| n as u128 * size as u128;
    let mut quotas: Vec<usize> = sizes
        .iter()
        .map(|&size| (share(size) / total) as usize)
        .collect();
    let mut by_remainder: Vec<usize> = (0..sizes.len()).collect();
    // Stable, so that the lower label comes first.
    by_remainder.sort_by_key(|&class| std::cmp::Reverse(share(sizes[class]) % total));
    let left = n - quotas.iter().sum::<usize>();
    for &class in &by_remainder[..left] {
        quotas[class] += 1;
    }
    quotas
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
            prop_assert_eq!(validation.len(), (view.len() as f64 * fraction).round() as usize);
            prop_assert!(train.indices().is_sorted() && validation.indices().is_sorted());
            let mut together = [train.indices(), validation.indices()].concat();
            together.sort_unstable();
            prop_assert_eq!(&together[..], view.indices());
            for (part, whole) in validation.class_counts().into_iter().zip(view.class_counts()) {
                let exact = whole as f64 * validation.len() as f64 / view.len() as f64;
                prop_assert!((part as f64 - exact).abs() < 1.0);
            }
            let again = view.split(fraction, seed).unwrap();
            prop_assert_eq!(again.0.indices(), train.indices());
            prop_assert_eq!(again.1.indices(), validation.indices());
        }
    }

    #[test]
    fn remainders_go_to_the_largest_then_the_first() {
        assert_eq!(quotas(&[10, 10, 10], 10), [4, 3, 3]);
        assert_eq!(quotas(&[7, 2, 1], 5), [4, 1, 0]);
        assert_eq!(quotas(&[0, 5], 5), [0, 5]);
        assert_eq!(quotas(&[0, 0], 0), [0, 0]);
    }

    proptest! {
        #[test]
        fn quotas_add_up_and_keep_proportions(sizes in prop::collection::vec(0..1000usize, 1..20), part in 0.0..=1.0) {
            let total: usize = sizes.iter().sum();
            let n = (total as f64 * part) as usize;
            let quotas = quotas(&sizes, n);
            prop_assert_eq!(quotas.iter().sum::<usize>(), n);
            for (&quota, &size) in quotas.iter().zip(&sizes) {
                prop_assert!(quota <= size);
                prop_assert!((quota as f64 - n as f64 * size as f64 / total.max(1) as f64).abs() < 1.0);
            }
        }
    }
}
