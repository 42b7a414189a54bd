//! What both models say, collected image by image.

use kiln_metrics::{Evaluator, Paired, ScoreKind};

use super::{Choice, Comparison, Difference};
use crate::error::Result;
use crate::inputs::{Input, InputsError};

/// What a model says about an image.
#[derive(Clone, Copy)]
pub struct Said<'a> {
    pub predicted: usize,
    /// What metrics are computed from.
    pub scores: &'a [f32],
    pub probabilities: &'a [f32],
}

/// What both models said so far.
pub struct Collected {
    kinds: [ScoreKind; 2],
    evaluators: [Evaluator; 2],
    paired: Paired,
    differences: Vec<Difference>,
}

impl Collected {
    /// Creates an empty collection for models with these evaluators and kinds of output.
    pub fn new(evaluators: [Evaluator; 2], kinds: [ScoreKind; 2]) -> Self {
        Self {
            kinds,
            evaluators,
            paired: Paired::default(),
            differences: Vec::new(),
        }
    }

    /// Adds an image.
    pub fn push(&mut self, input: &Input, said: [Said<'_>; 2]) -> Result<()> {
        let index = input.index;
        let label = input.label.ok_or(InputsError::Unlabeled { index })?;
        for ((evaluator, kind), said) in self.evaluators.iter_mut().zip(self.kinds).zip(said) {
            evaluator.push_scores(said.scores, &[label], kind)?;
        }
        let [a, b] = said.map(|said| said.predicted);
        self.paired.push(label as usize, a, b);
        if a == b {
            return Ok(());
        }
        let choice = |said: Said<'_>, own: usize, other: usize| Choice {
            class: own,
            probability: said.probabilities[own],
            margin: said.probabilities[own] - said.probabilities[other],
        };
        self.differences.push(Difference {
            index,
            path: input.path().map(Into::into),
            label,
            choices: [choice(said[0], a, b), choice(said[1], b, a)],
        });
        Ok(())
    }

    /// Number of images.
    pub fn images(&self) -> u64 {
        self.paired.images()
    }

    /// Computes the figures.
    pub fn finish(self) -> Result<Comparison> {
        let [first, second] = self.evaluators;
        let mut differences = self.differences;
        differences.sort_by(|a, b| b.margin().total_cmp(&a.margin()));
        Ok(Comparison {
            evaluations: [first.finish()?, second.finish()?],
            paired: self.paired,
            differences,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::Inputs;

    #[test]
    fn differing_images_have_the_margin_of_each_choice() {
        let classes = ["a", "b", "c"].map(String::from);
        let evaluators = [(); 2].map(|()| Evaluator::new(classes.to_vec()).unwrap());
        let mut collected = Collected::new(evaluators, [ScoreKind::Probabilities; 2]);
        let labels = [1, 0].map(|label| (vec![0_u8], Some(label)));
        let inputs: Vec<Input> = Inputs::from_images("dots", labels)
            .map(std::result::Result::unwrap)
            .collect();
        let rows: [[[f32; 3]; 2]; 2] = [
            [[0.75, 0.25, 0.0], [0.125, 0.625, 0.25]],
            [[0.5, 0.25, 0.25], [0.5, 0.5, 0.0]],
        ];
        for (input, rows) in inputs.iter().zip(&rows) {
            let said = rows.each_ref().map(|row| Said {
                predicted: kiln_metrics::argmax(row).unwrap(),
                scores: row,
                probabilities: row,
            });
            collected.push(input, said).unwrap();
        }
        let comparison = collected.finish().unwrap();
        let paired = comparison.paired;
        assert_eq!(
            (paired.only_second, paired.both_right, paired.same_class),
            (1, 1, 1)
        );
        assert!((comparison.accuracy_change() - 0.5).abs() < 1e-12);
        let choice = |class, probability, margin| Choice {
            class,
            probability,
            margin,
        };
        let expected = Difference {
            index: 0,
            path: None,
            label: 1,
            choices: [choice(0, 0.75, 0.5), choice(1, 0.625, 0.5)],
        };
        assert_eq!(comparison.differences, [expected]);
    }
}
