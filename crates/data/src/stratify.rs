//! Choosing samples so that every class keeps its share.

use rand::seq::SliceRandom;

use crate::random::{Use, generator};

/// Marks `n` of the samples with these labels, at random, each class in proportion to its size.
///
/// A class of `c` among `t` samples gets `n * c / t` marks, rounded down or up: up for the largest
/// remainders (Hamilton's method; of equal ones, the lower label). The marks depend only on the
/// arguments. At most all samples are marked.
pub(crate) fn stratify(labels: &[u32], classes: usize, n: usize, seed: u64) -> Vec<bool> {
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
