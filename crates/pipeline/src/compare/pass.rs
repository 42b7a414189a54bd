//! Both models over all images, a batch at a time.

use kiln_inference::{Model, OutputKind, Scores};
use kiln_metrics::{Evaluation, Evaluator, Paired, argmax};

use super::prepared::Prepared;
use crate::commands::Context;
use crate::inputs::{Input, Inputs};
use crate::interrupt;
use crate::unreadable::Unreadable;

/// What both models said about all images.
pub struct Pass {
    pub evaluations: [Evaluation; 2],
    pub paired: Paired,
    /// The images that they put into different classes.
    pub differing: Vec<Differing>,
}

/// An image that the models put into different classes.
pub struct Differing {
    /// Its place among all images of the data.
    pub index: u64,
    /// The path of its file.
    pub path: Option<String>,
    /// Its class.
    pub label: u32,
    pub choices: [Choice; 2],
}

/// What a model said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    pub class: usize,
    pub probability: f32,
    /// By how much the model prefers its own class to the other model's: the difference of their
    /// probabilities.
    pub margin: f32,
}

impl Pass {
    /// Runs both models, while the next images are read; nothing if the user stopped it.
    pub fn run(
        models: [&Model; 2],
        mut inputs: Inputs,
        batch_size: usize,
        context: &Context<'_>,
    ) -> anyhow::Result<Option<Self>> {
        let new = |model: &Model| Evaluator::new(model.labels().to_vec());
        let mut evaluators = [new(models[0])?, new(models[1])?];
        let (mut paired, mut differing, mut unreadable) =
            (Paired::default(), Vec::new(), Unreadable::default());
        let source = inputs.source.clone();
        let bar = context.terminal.progress("   Comparing", inputs.count);
        let mut batch = Prepared::next(&mut inputs, batch_size, models)?;
        while !batch.is_end() {
            if interrupt::requested() {
                bar.finish_and_clear();
                return Ok(None);
            }
            bar.inc((batch.images.len() + batch.unreadable.len()) as u64);
            batch
                .unreadable
                .iter()
                .for_each(|reason| unreadable.push(reason));
            let labels = labels(&batch)?;
            let run = || both(models, &batch);
            let (scores, next) =
                rayon::join(run, || Prepared::next(&mut inputs, batch_size, models));
            if let Some(scores) = scores? {
                for (evaluator, Scores { data, kind, .. }) in evaluators.iter_mut().zip(&scores) {
                    match kind {
                        OutputKind::Logits => evaluator.push(data, &labels)?,
                        OutputKind::Probabilities => evaluator.push_probabilities(data, &labels)?,
                    }
                }
                compare(&scores, &batch.images, &labels, &mut paired, &mut differing);
            }
            batch = next?;
        }
        bar.finish_and_clear();
        unreadable.settle(&source, paired.images(), 0, context)?;
        let [first, second] = evaluators;
        Ok(Some(Self {
            evaluations: [first.finish()?, second.finish()?],
            paired,
            differing,
        }))
    }
}

fn labels(batch: &Prepared) -> anyhow::Result<Vec<u32>> {
    let label = |image: &Input| {
        image
            .label
            .ok_or_else(|| anyhow::anyhow!("image {} has no label", image.index))
    };
    batch.images.iter().map(label).collect()
}

/// What both models say of a batch; nothing where none of its images could be read.
fn both(models: [&Model; 2], batch: &Prepared) -> anyhow::Result<Option<[Scores; 2]>> {
    if batch.images.is_empty() {
        return Ok(None);
    }
    let [first, second] = batch.values();
    Ok(Some([
        models[0].run(first, batch.images.len())?,
        models[1].run(second, batch.images.len())?,
    ]))
}

/// Adds a batch.
fn compare(
    scores: &[Scores; 2],
    images: &[Input],
    labels: &[u32],
    paired: &mut Paired,
    differing: &mut Vec<Differing>,
) {
    let rows = scores[0]
        .rows()
        .zip(scores[1].rows())
        .zip(labels)
        .enumerate();
    let choices = rows.filter_map(|(at, ((first, second), &label))| {
        // By score: rounding can make two probabilities equal.
        let [a, b] = [first, second].map(|row| argmax(row).expect("the model gives finite scores"));
        paired.push(label as usize, a, b);
        (a != b).then_some((at, label, [a, b]))
    });
    let found: Vec<_> = choices.collect();
    if found.is_empty() {
        return;
    }
    let probabilities = scores.each_ref().map(Scores::probabilities);
    differing.extend(found.into_iter().map(|(at, label, [a, b])| {
        let choice = |model: usize, own: usize, other: usize| {
            let row = &probabilities[model][at * scores[model].classes..][..scores[model].classes];
            Choice {
                class: own,
                probability: row[own],
                margin: row[own] - row[other],
            }
        };
        let (image, choices) = (&images[at], [choice(0, a, b), choice(1, b, a)]);
        Differing {
            index: image.index,
            path: image.path().map(Into::into),
            label,
            choices,
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kiln_data::{Dataset, View};

    use super::*;

    #[test]
    fn differing_images_have_the_margin_of_each_choice() {
        let scores = |data: [f32; 6]| Scores {
            data: data.to_vec(),
            classes: 3,
            kind: OutputKind::Probabilities,
            inference: std::time::Duration::ZERO,
        };
        let both = [
            scores([0.75, 0.25, 0.0, 0.5, 0.25, 0.25]),
            scores([0.125, 0.625, 0.25, 0.5, 0.5, 0.0]),
        ];
        let (mut paired, mut differing) = (Paired::default(), Vec::new());
        let classes = ["a", "b", "c"].map(String::from).to_vec();
        let dataset = Dataset::new("dots", vec![0; 42], [1, 1, 1], vec![0; 42], classes).unwrap();
        let images: Vec<Input> = Inputs::of_view(&View::all(Arc::new(dataset)))
            .skip(40)
            .map(Result::unwrap)
            .collect();
        compare(&both, &images, &[1, 0], &mut paired, &mut differing);
        assert_eq!(
            (paired.only_second, paired.both_right, paired.same_class),
            (1, 1, 1)
        );
        let [
            Differing {
                index: 40,
                path: None,
                label: 1,
                choices,
            },
        ] = differing.as_slice()
        else {
            panic!("one image differs")
        };
        let expected = [(0, 0.75, 0.5), (1, 0.625, 0.5)];
        assert_eq!(
            *choices,
            expected.map(|(class, probability, margin)| Choice {
                class,
                probability,
                margin
            })
        );
    }
}
