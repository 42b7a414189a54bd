//! Which classes an image has.

use std::collections::BTreeMap;

/// The sets of classes that the images of a dataset have. A label is the number of a set; where an image has one class,
/// the sets are the classes themselves, so that labels are classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelSets {
    /// Classes of all sets, one set after another, each in ascending order.
    members: Vec<u32>,
    /// Where each set ends in `members`.
    ends: Vec<usize>,
    /// Whether an image can have several classes, or none.
    several: bool,
}

impl LabelSets {
    /// Each class by itself: an image has one of so many.
    pub fn exclusive(classes: usize) -> Self {
        Self {
            members: (0..classes as u32).collect(),
            ends: (1..=classes).collect(),
            several: false,
        }
    }

    /// Gathers the distinct ones among the classes of each image, which can be several; returns the number of
    /// each image's set too. They are numbered in the order of their classes, whatever that of the images.
    pub fn several(images: impl IntoIterator<Item = Vec<u32>>) -> (Self, Vec<u32>) {
        let images = images.into_iter().map(|mut classes| {
            classes.sort_unstable();
            classes.dedup();
            classes
        });
        let images: Vec<Vec<u32>> = images.collect();
        let mut numbers: BTreeMap<&[u32], u32> =
            images.iter().map(|set| (set.as_slice(), 0)).collect();
        let mut sets = Self {
            members: Vec::new(),
            ends: Vec::new(),
            several: true,
        };
        for ((set, number), at) in numbers.iter_mut().zip(0..) {
            *number = at;
            sets.members.extend_from_slice(set);
            sets.ends.push(sets.members.len());
        }
        let labels = images.iter().map(|set| numbers[set.as_slice()]).collect();
        (sets, labels)
    }

    /// Returns the number of sets: labels are smaller.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether an image can have several classes, or none.
    pub const fn has_several(&self) -> bool {
        self.several
    }

    /// Returns the classes of a set, in ascending order.
    ///
    /// # Panics
    ///
    /// If there is no such set.
    pub fn of(&self, label: u32) -> &[u32] {
        let at = label as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.members[start..self.ends[at]]
    }

    /// Counts the images of each of so many classes.
    ///
    /// # Panics
    ///
    /// If a label has no set.
    pub fn class_counts(
        &self,
        classes: usize,
        labels: impl IntoIterator<Item = u32>,
    ) -> Vec<usize> {
        let mut counts = vec![0; classes];
        for label in labels {
            for &class in self.of(label) {
                counts[class as usize] += 1;
            }
        }
        counts
    }

    /// Gives the classes other numbers; labels stay as they are.
    pub(crate) fn renumbered(mut self, numbers: &[u32]) -> Self {
        let mut start = 0;
        for &end in &self.ends {
            let set = &mut self.members[start..end];
            for class in &mut *set {
                *class = numbers[*class as usize];
            }
            set.sort_unstable();
            start = end;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclusive_classes_are_their_own_sets() {
        let sets = LabelSets::exclusive(3);
        assert_eq!((sets.count(), sets.has_several()), (3, false));
        assert_eq!([0, 1, 2].map(|label| sets.of(label)), [[0], [1], [2]]);
        assert_eq!(sets.class_counts(4, [2, 0, 2]), [1, 0, 2, 0]);
    }

    #[test]
    fn equal_sets_have_one_number() {
        let (sets, labels) =
            LabelSets::several([vec![2, 0], vec![], vec![1], vec![0, 2, 2], vec![]]);
        assert!(sets.has_several() && sets.count() == 3);
        let back: Vec<&[u32]> = labels.iter().map(|&label| sets.of(label)).collect();
        assert_eq!(back, [&[0, 2][..], &[], &[1], &[0, 2], &[]]);
        assert_eq!(sets.class_counts(3, labels.clone()), [2, 1, 2]);
        let sets = sets.renumbered(&[5, 4, 1]);
        assert_eq!(sets.of(labels[0]), [1, 5]);
        assert_eq!(sets.of(labels[2]), [4]);
    }
}
