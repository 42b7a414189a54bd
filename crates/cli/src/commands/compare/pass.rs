//! Both models over all images, a batch at a time.

use std::sync::Arc;

use kiln_data::{Batch, Loader, Order, Samples, View};
use kiln_eval::{Evaluation, Evaluator, Paired, argmax};
use kiln_inference::{Model, OutputKind, Preprocessor, Scores};

use crate::interrupt;
use crate::terminal::Terminal;

/// What both models said about all images.
pub struct Pass {
    pub evaluations: [Evaluation; 2],
    pub paired: Paired,
    /// The images that they put into different classes.
    pub differing: Vec<Differing>,
}

/// An image that the models put into different classes.
pub struct Differing {
    /// Its place in the view.
    pub at: usize,
    pub choices: [Choice; 2],
}

/// What a model said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    pub class: usize,
    pub probability: f32,
    /// By how much the model prefers its own class to the other model's: the difference of their probabilities.
    pub margin: f32,
}

impl Pass {
    /// Runs both models; nothing if the user stopped it.
    pub fn run(
        models: [&Model; 2],
        view: &View,
        batch_size: usize,
        terminal: &Terminal,
    ) -> anyhow::Result<Option<Self>> {
        let [a, b] = models;
        let loader = |model: &Model| -> anyhow::Result<Loader> {
            let preprocessor = Arc::new(Preprocessor::new(model.preprocessing().clone())?);
            Ok(Loader::new(Samples::images(view.clone(), preprocessor), batch_size, Order::Sequential)?)
        };
        let first = loader(a)?;
        // Images are prepared once where both models want the same.
        let mut second = if a.preprocessing() == b.preprocessing() { None } else { Some(loader(b)?.iter()) };
        let new = |model: &Model| Evaluator::new(model.labels().to_vec());
        let mut evaluators = [new(a)?, new(b)?];
        let (mut paired, mut differing, mut seen) = (Paired::default(), Vec::new(), 0);
        let bar = terminal.bar(
            view.len() as u64,
            "   Comparing {bar:24.green} {human_pos:>7}/{human_len} {per_sec:>12} {eta:>4} left",
        );
        for batch in &first {
            if interrupt::requested() {
                bar.finish_and_clear();
                return Ok(None);
            }
            let batch = batch?;
            let other = second.as_mut().and_then(Iterator::next).transpose()?;
            let scores = [(a, &batch), (b, other.as_ref().unwrap_or(&batch))];
            let scores = scores.map(|(model, Batch { values, labels, .. })| model.run(values, labels.len()));
            let [first, second] = scores;
            let scores = [first?, second?];
            for (evaluator, Scores { data, kind, .. }) in evaluators.iter_mut().zip(&scores) {
                match kind {
                    OutputKind::Logits => evaluator.push(data, &batch.labels)?,
                    OutputKind::Probabilities => evaluator.push_probabilities(data, &batch.labels)?,
                }
            }
            compare(&scores, &batch.labels, seen, &mut paired, &mut differing);
            seen += batch.labels.len();
            bar.inc(batch.labels.len() as u64);
        }
        bar.finish_and_clear();
        let [first, second] = evaluators;
        Ok(Some(Self { evaluations: [first.finish()?, second.finish()?], paired, differing }))
    }
}

/// Adds a batch, whose first image is number `seen`.
fn compare(scores: &[Scores; 2], labels: &[u32], seen: usize, paired: &mut Paired, differing: &mut Vec<Differing>) {
    let probabilities = scores.each_ref().map(Scores::probabilities);
    let rows = scores[0].rows().zip(scores[1].rows()).zip(labels).enumerate();
    for (at, ((first, second), &label)) in rows {
        // By score: rounding can make two probabilities equal.
        let [a, b] = [first, second].map(|row| argmax(row).expect("the model gives finite scores"));
        paired.push(label as usize, a, b);
        if a != b {
            let choice = |model: usize, own: usize, other: usize| {
                let row = &probabilities[model][at * scores[model].classes..][..scores[model].classes];
                Choice { class: own, probability: row[own], margin: row[own] - row[other] }
            };
            differing.push(Differing { at: seen + at, choices: [choice(0, a, b), choice(1, b, a)] });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differing_images_have_the_margin_of_each_choice() {
        let scores = |data: [f32; 6]| Scores {
            data: data.to_vec(),
            classes: 3,
            kind: OutputKind::Probabilities,
            inference: std::time::Duration::ZERO,
        };
        let both = [scores([0.75, 0.25, 0.0, 0.5, 0.25, 0.25]), scores([0.125, 0.625, 0.25, 0.5, 0.5, 0.0])];
        let (mut paired, mut differing) = (Paired::default(), Vec::new());
        compare(&both, &[1, 0], 40, &mut paired, &mut differing);
        assert_eq!((paired.only_second, paired.both_right, paired.same_class), (1, 1, 1));
        let [Differing { at: 40, choices }] = differing.as_slice() else { panic!("one image differs") };
        let expected = [(0, 0.75, 0.5), (1, 0.625, 0.5)];
        assert_eq!(*choices, expected.map(|(class, probability, margin)| Choice { class, probability, margin }));
    }
}
