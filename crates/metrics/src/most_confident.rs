//! The most confident errors: wrong predictions with the highest probability.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Keeps the `limit` things of the highest probability of all that are shown to it; of equals the
/// first.
#[derive(Debug, Clone)]
pub struct MostConfident<T> {
    limit: usize,
    /// With the least probable on top.
    kept: BinaryHeap<Reverse<Entry<T>>>,
    seen: u64,
}

#[derive(Debug, Clone)]
struct Entry<T> {
    probability: f32,
    /// Number of things seen before.
    place: u64,
    value: T,
}

impl<T> MostConfident<T> {
    /// Keeps nothing yet.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            kept: BinaryHeap::new(),
            seen: 0,
        }
    }

    /// Shows a thing, which is made only if it is kept.
    pub fn push(&mut self, probability: f32, value: impl FnOnce() -> T) {
        let place = self.seen;
        self.seen += 1;
        let better = self
            .kept
            .peek()
            .is_none_or(|Reverse(least)| probability.total_cmp(&least.probability).is_gt());
        if self.kept.len() < self.limit || (better && self.limit > 0) {
            self.kept.push(Reverse(Entry {
                probability,
                place,
                value: value(),
            }));
            if self.kept.len() > self.limit {
                self.kept.pop();
            }
        }
    }

    /// Returns the number of things shown.
    pub const fn seen(&self) -> u64 {
        self.seen
    }

    /// Returns what was kept, the most probable first.
    pub fn into_sorted(self) -> Vec<T> {
        // Ascending by `Reverse`, which is descending.
        self.kept
            .into_sorted_vec()
            .into_iter()
            .map(|Reverse(entry)| entry.value)
            .collect()
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.probability
            .total_cmp(&other.probability)
            .then(other.place.cmp(&self.place))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Entry<T> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keeps_what_sorting_all_would(values in prop::collection::vec(0..8u8, 0..40), limit in 0..6usize) {
            let mut kept = MostConfident::new(limit);
            for (place, &value) in values.iter().enumerate() {
                kept.push(f32::from(value), || (value, place));
            }
            let mut all: Vec<(u8, usize)> = values.iter().copied().zip(0..).collect();
            all.sort_by_key(|&(value, place)| (Reverse(value), place));
            all.truncate(limit);
            prop_assert_eq!(kept.seen(), values.len() as u64);
            prop_assert_eq!(kept.into_sorted(), all);
        }
    }
}
