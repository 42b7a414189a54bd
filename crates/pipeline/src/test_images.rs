//! The exported model over the test images, on one engine after another.

use kiln_data::View;
use kiln_inference::{EngineId, Model};
use kiln_metrics::Paired;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::evaluate::{AnyEvaluated, AnyTally, EvaluateOptions};
use crate::inputs::Inputs;
use crate::predictions::{Columns, Format, Row, Writer};

const IN_MEMORY: &str = "writing to memory does not fail";

/// The exported file on an engine.
pub type LoadedModel = (EngineId, Model);

/// The test images, and how many of them each engine computes.
pub struct TestImages<'a> {
    /// All of them, for the engine whose figures are reported.
    pub all: &'a View,
    /// Those for the other engines, if they take too long for all.
    pub sample: Option<View>,
    /// Images per batch.
    pub batch_size: usize,
}

/// A model's run over the test images.
pub struct TestRun {
    pub engine: EngineId,
    /// Of the images that this engine computed.
    pub evaluated: AnyEvaluated,
    /// The graph's output for the images that all engines computed, `[images, classes]` row-major.
    pub scores: Vec<f32>,
    /// The class of each image that this engine computed and the predicted one, where each image has one class.
    pub choices: Vec<[u32; 2]>,
    /// One line per image, as CSV.
    pub predictions: Vec<u8>,
}

impl TestRun {
    /// Compares two models on the same images; nothing where images can have several classes.
    pub fn paired(&self, other: &Self) -> Option<Paired> {
        let mut paired = Paired::default();
        for ([label, first], [_, second]) in self.choices.iter().zip(&other.choices) {
            let [label, first, second] = [label, first, second].map(|&class| class as usize);
            paired.push(label, first, second);
        }
        (paired.images() > 0).then_some(paired)
    }
}

impl TestImages<'_> {
    /// Runs models over the images, the first over all. Returns `None` if cancelled.
    pub fn run(
        &self,
        models: &[&LoadedModel],
        context: &Context<'_>,
    ) -> Result<Option<Vec<TestRun>>> {
        let mut runs = Vec::with_capacity(models.len());
        for (at, model) in models.iter().enumerate() {
            let images = self.sample.as_ref().filter(|_| at > 0).unwrap_or(self.all);
            let Some(mut run) = run(model, images, self.batch_size, context)? else {
                return Ok(None);
            };
            if let (0, Some(sample)) = (at, &self.sample) {
                run.scores = rows(&run.scores, images, sample);
            }
            runs.push(run);
        }
        Ok(Some(runs))
    }
}

/// Runs a model over images. Returns `None` if cancelled.
fn run(
    (engine, model): &LoadedModel,
    images: &View,
    batch_size: usize,
    context: &Context<'_>,
) -> Result<Option<TestRun>> {
    let inputs = Inputs::of_view(images);
    let (mut scores, mut choices) = (Vec::new(), Vec::new());
    let mut predictions = Vec::new();
    let columns = Columns::of(&inputs, model);
    let mut lines = Writer::new(&mut predictions, Format::Csv, columns, true).expect(IN_MEMORY);
    let options = EvaluateOptions {
        batch_size: Some(batch_size),
        ..EvaluateOptions::default()
    };
    let tally = AnyTally::new(model, &options, &inputs)?;
    let evaluated = tally.evaluate(inputs, context, |input, classified| {
        scores.extend_from_slice(classified.scores);
        let predicted = classified.predicted() as u32;
        choices.extend(input.label.map(|label| [label, predicted]));
        lines
            .write(&Row::new(input, classified, model))
            .expect(IN_MEMORY);
        Ok::<(), Error>(())
    })?;
    lines.finish().expect(IN_MEMORY);
    drop(lines);
    Ok(evaluated.map(|evaluated| TestRun {
        engine: *engine,
        evaluated,
        scores,
        choices,
        predictions,
    }))
}

/// Returns what belongs to some of the images, of what there is as much of for each of them, in their order.
fn rows<T: Copy>(values: &[T], images: &View, some: &View) -> Vec<T> {
    let each = values.len() / images.len().max(1);
    if each == 0 {
        return Vec::new();
    }
    let rows = images.indices().iter().zip(values.chunks_exact(each));
    let mut some = some.indices().iter().peekable();
    // Both are in ascending order.
    rows.filter(|(index, _)| some.next_if(|wanted| wanted == index).is_some())
        .flat_map(|(_, row)| row.iter().copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kiln_data::Dataset;

    use super::*;

    #[test]
    fn rows_are_those_of_the_sample() {
        let classes = vec!["a".to_owned(), "b".to_owned()];
        let labels = vec![0, 1, 0, 1, 0, 1];
        let dataset = Dataset::new("d", vec![0; 6], [1, 1, 1], labels, classes).unwrap();
        let images = View::all(Arc::new(dataset)).skip(1);
        let some = images.take(3, 0);
        let scores: Vec<f32> = images
            .indices()
            .iter()
            .flat_map(|&index| [index as f32, -(index as f32)])
            .collect();
        let found = rows(&scores, &images, &some);
        let expected: Vec<f32> = some
            .indices()
            .iter()
            .flat_map(|&index| [index as f32, -(index as f32)])
            .collect();
        assert_eq!((found.len(), found), (6, expected));
    }
}
