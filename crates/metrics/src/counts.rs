//! Decisions about classes, counted, and the scores that follow from the counts.

use crate::evaluation::ratio;

/// Decisions about a class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub hits: u64,
    pub missed: u64,
    pub false_alarms: u64,
}

impl Counts {
    pub fn add(&mut self, other: Self) {
        self.hits += other.hits;
        self.missed += other.missed;
        self.false_alarms += other.false_alarms;
    }

    pub fn precision(self) -> f64 {
        ratio(self.hits as f64, (self.hits + self.false_alarms) as f64)
    }

    pub fn recall(self) -> f64 {
        ratio(self.hits as f64, (self.hits + self.missed) as f64)
    }

    pub fn f1(self) -> f64 {
        let wrong = self.missed + self.false_alarms;
        ratio(2.0 * self.hits as f64, (2 * self.hits + wrong) as f64)
    }

    /// Whether the class occurs among images or predictions.
    fn occurs(self) -> bool {
        self != Self::default()
    }
}

/// Predictions of classes that exclude each other, counted by class: what accuracy and macro F1 need, in memory that
/// grows with the classes and not with their pairs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClassCounts {
    classes: Vec<Counts>,
    images: u64,
}

impl ClassCounts {
    /// Counts an image of a class that was predicted as another, or as itself.
    pub fn record(&mut self, truth: usize, predicted: usize) {
        let most = truth.max(predicted);
        if self.classes.len() <= most {
            self.classes.resize(most + 1, Counts::default());
        }
        self.images += 1;
        if truth == predicted {
            self.classes[truth].hits += 1;
        } else {
            self.classes[truth].missed += 1;
            self.classes[predicted].false_alarms += 1;
        }
    }

    /// Adds the counts of other images.
    pub fn add(&mut self, other: &Self) {
        let len = self.classes.len().max(other.classes.len());
        self.classes.resize(len, Counts::default());
        for (sum, counts) in self.classes.iter_mut().zip(&other.classes) {
            sum.add(*counts);
        }
        self.images += other.images;
    }

    /// Returns the number of images.
    pub const fn images(&self) -> u64 {
        self.images
    }

    /// Returns the share of images that were predicted correctly; not a number where there are none.
    pub fn accuracy(&self) -> f64 {
        let hits: u64 = self.classes.iter().map(|class| class.hits).sum();
        hits as f64 / self.images as f64
    }

    /// Returns the mean F1 of the classes that occur among images or predictions, as
    /// [`Average`](crate::Average) has it; 0 where there are none.
    pub fn macro_f1(&self) -> f64 {
        let occurring = self.classes.iter().filter(|class| class.occurs());
        let scores: Vec<f64> = occurring.map(|class| class.f1()).collect();
        ratio(scores.iter().sum(), scores.len() as f64)
    }
}

/// Decisions about classes of which an image can have several, counted by class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DecisionCounts {
    classes: Vec<Counts>,
    images: u64,
}

impl DecisionCounts {
    /// Counts an image: whether it has each class, and whether that was predicted.
    pub fn record(&mut self, decisions: impl ExactSizeIterator<Item = (bool, bool)>) {
        self.images += 1;
        self.classes.resize(decisions.len(), Counts::default());
        for (counts, decision) in self.classes.iter_mut().zip(decisions) {
            match decision {
                (true, true) => counts.hits += 1,
                (true, false) => counts.missed += 1,
                (false, true) => counts.false_alarms += 1,
                (false, false) => {}
            }
        }
    }

    /// Returns the number of images.
    pub const fn images(&self) -> u64 {
        self.images
    }

    /// Returns the share of right decisions among all, Keras's binary accuracy; not a number where there are none.
    pub fn accuracy(&self) -> f64 {
        let wrong = self.classes.iter();
        let wrong: u64 = wrong
            .map(|counts| counts.missed + counts.false_alarms)
            .sum();
        1.0 - wrong as f64 / (self.images as f64 * self.classes.len() as f64)
    }

    /// Returns the mean F1 of all classes, with 0 for one that is neither there nor predicted, as
    /// [`SeveralEvaluation`](crate::SeveralEvaluation) has it.
    pub fn macro_f1(&self) -> f64 {
        let scores = self.classes.iter().map(|class| class.f1());
        ratio(scores.sum(), self.classes.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Evaluator, SeveralEvaluator};

    proptest! {
        #[test]
        fn they_are_those_of_an_evaluation(pairs in proptest::collection::vec((0..5_usize, 0..5_usize), 1..60), cut: usize) {
            let labels = (0..5).map(|class| class.to_string()).collect();
            let mut evaluator = Evaluator::new(labels).unwrap();
            let mut parts = [ClassCounts::default(), ClassCounts::default()];
            for (at, &(truth, predicted)) in pairs.iter().enumerate() {
                let mut logits = [0.0; 5];
                logits[predicted] = 1.0;
                evaluator.push(&logits, &[truth as u32]).unwrap();
                parts[usize::from(at < cut % pairs.len())].record(truth, predicted);
            }
            let [mut all, rest] = parts;
            all.add(&rest);
            let evaluation = evaluator.finish().unwrap();
            prop_assert!((all.macro_f1() - evaluation.macro_average.f1).abs() < 1e-12);
            prop_assert!((all.accuracy() - evaluation.accuracy).abs() < 1e-12);
            prop_assert_eq!(all.images(), pairs.len() as u64);
        }
    }

    proptest! {
        #[test]
        fn decisions_are_those_of_an_evaluation(images in proptest::collection::vec((any::<[bool; 3]>(), any::<[bool; 3]>()), 1..40)) {
            let labels = (0..3).map(|class| class.to_string()).collect();
            let mut evaluator = SeveralEvaluator::new(labels, vec![0.5; 3]).unwrap();
            let mut counts = DecisionCounts::default();
            for (truth, predicted) in &images {
                let truths: Vec<u32> = (0..3).filter(|&class| truth[class as usize]).collect();
                evaluator.push(&predicted.map(|yes| if yes { 0.9 } else { 0.1 }), &truths).unwrap();
                counts.record(truth.iter().copied().zip(predicted.iter().copied()));
            }
            let evaluation = evaluator.finish().unwrap();
            prop_assert!((counts.macro_f1() - evaluation.macro_average.f1).abs() < 1e-12);
            prop_assert!((counts.accuracy() - (1.0 - evaluation.hamming_loss)).abs() < 1e-12);
            prop_assert_eq!(counts.images(), images.len() as u64);
        }
    }

    #[test]
    fn nothing_has_no_score() {
        let none = ClassCounts::default();
        assert_eq!(none.macro_f1(), 0.0);
        assert!(none.accuracy().is_nan());
    }
}
