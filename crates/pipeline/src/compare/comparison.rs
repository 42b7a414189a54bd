//! What two models achieved on the same images.

use kiln_metrics::{Evaluation, Paired};

use crate::error::models::CompareError;

/// What two models achieved on the same images.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Comparison {
    /// Metrics of each model.
    pub evaluations: [Evaluation; 2],
    /// Which of the models were right.
    pub paired: Paired,
    /// The images for which they predict different classes, those first that both are confident
    /// about.
    pub differences: Vec<Difference>,
}

/// An image for which the models predict different classes.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Its place among all images of the source, from 0.
    pub index: u64,
    /// The path of its file.
    pub path: Option<String>,
    /// Its class.
    pub label: u32,
    /// What each model predicts.
    pub choices: [Choice; 2],
}

/// What a model predicts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// The predicted class.
    pub class: usize,
    /// Its probability, 0 to 1.
    pub probability: f32,
    /// By how much the model prefers its own class to the other model's: the difference of their
    /// probabilities.
    pub margin: f32,
}

impl Difference {
    /// Returns how confident the less confident of the two models is.
    pub fn margin(&self) -> f32 {
        let [first, second] = self.choices;
        first.margin.min(second.margin)
    }
}

impl Comparison {
    /// Returns the second model's accuracy less the first's. It is computed from counts, so that
    /// nothing is lost to rounding.
    pub fn accuracy_change(&self) -> f64 {
        let paired = &self.paired;
        (paired.only_second as f64 - paired.only_first as f64) / paired.images() as f64
    }
}

/// Checks that both models have the same classes in the same order.
pub fn check_classes(first: &[String], second: &[String]) -> Result<(), CompareError> {
    let mut pairs = first.iter().zip(second);
    if let Some(class) = pairs.position(|(first, second)| first != second) {
        return Err(CompareError::Class {
            class,
            first: first[class].clone(),
            second: second[class].clone(),
        });
    }
    if first.len() != second.len() {
        return Err(CompareError::Classes {
            first: first.len(),
            second: second.len(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_class_that_differs_is_named() {
        let names = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        let check = |first: &str, second: &str| {
            check_classes(&names(first), &names(second)).map_err(|error| error.to_string())
        };
        assert_eq!(check("a b", "a b"), Ok(()));
        let message = check("a b", "a c").unwrap_err();
        assert_eq!(
            message,
            "class 1 of the first model is `b`, that of the second `c`"
        );
        let message = check("a b", "a").unwrap_err();
        assert_eq!(message, "the first model has 2 classes, the second 1");
    }
}
