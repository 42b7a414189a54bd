//! What is counted while images go by.

use kiln_inference::{Classified, Model, OutputKind, StreamOptions, StreamSummary};
use kiln_metrics::{Evaluator, MostConfident, argmax};

use super::{EvaluateOptions, Evaluated, Mistake, classify};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::inputs::{Input, Inputs, InputsError};
use crate::predictions::{PredictionsError, Row};
use crate::runtime::RuntimeRecord;

/// An evaluation that has begun, in memory that does not grow with the images: what predictions
/// that are resumed hold is counted first.
pub struct Tally<'a> {
    model: &'a Model,
    batch_size: Option<usize>,
    evaluator: Evaluator,
    mistakes: MostConfident<Mistake>,
    resumed: u64,
}

impl<'a> Tally<'a> {
    /// Begins an evaluation with nothing counted.
    pub fn new(model: &'a Model, options: &EvaluateOptions) -> Result<Self> {
        let mut evaluator = Evaluator::new(model.labels().to_vec())?;
        if let Some(k) = options.top_k {
            evaluator = evaluator.with_top_k(k);
        }
        Ok(Self {
            model,
            batch_size: options.batch_size,
            evaluator,
            mistakes: MostConfident::new(options.mistakes),
            resumed: 0,
        })
    }

    /// Counts an image of predictions that were there already, as it was counted at first.
    pub fn resume(&mut self, row: &Row<'_>) -> Result<()> {
        let name = row.label.as_deref().unwrap_or_default();
        let classes = self.model.labels();
        let Some(label) = classes.iter().position(|class| class == name) else {
            return Err(PredictionsError::Label {
                index: row.index,
                label: name.into(),
            }
            .into());
        };
        if row.logits.is_empty() {
            self.evaluator
                .push_probabilities(&row.probabilities, &[label as u32])?;
        } else {
            self.evaluator.push(&row.logits, &[label as u32])?;
        }
        self.resumed += 1;
        self.mistake(
            row.index,
            row.path.as_deref(),
            [name, &row.predicted],
            row.probability,
        );
        Ok(())
    }

    /// Evaluates the images that are left, and shows each to `each`. Returns nothing if the work
    /// was cancelled.
    pub fn evaluate<E: From<Error>>(
        mut self,
        inputs: Inputs,
        context: &Context<'_>,
        mut each: impl FnMut(&Input, &Classified<'_>) -> Result<(), E>,
    ) -> Result<Option<Evaluated>, E> {
        let options = StreamOptions::default()
            .with_batch_size(self.batch_size)
            .with_warm_up(true);
        let model = self.model;
        let summary = classify(model, inputs, &options, context, |input, classified| {
            self.count(input, classified)?;
            each(input, classified)
        })?;
        Ok(match summary {
            Some(summary) => Some(self.finish(summary)?),
            None => None,
        })
    }

    fn finish(self, summary: StreamSummary) -> Result<Evaluated> {
        let wrong = self.mistakes.seen();
        Ok(Evaluated {
            evaluation: self.evaluator.finish()?,
            mistakes: self.mistakes.into_sorted(),
            wrong,
            runtime: RuntimeRecord::from(self.model.runtime()),
            summary,
            resumed: self.resumed,
        })
    }

    fn count(&mut self, input: &Input, classified: &Classified<'_>) -> Result<()> {
        let index = input.index;
        let label = input.label.ok_or(InputsError::Unlabeled { index })?;
        let scores = classified.scores;
        match self.model.output_kind() {
            OutputKind::Logits => self.evaluator.push(scores, &[label])?,
            OutputKind::Probabilities => self.evaluator.push_probabilities(scores, &[label])?,
        }
        let predicted = argmax(scores).expect("the model gives finite scores");
        if predicted != label as usize {
            let classes = self.model.labels();
            let names = [label as usize, predicted].map(|class| classes[class].as_str());
            let probability = classified.probabilities[predicted];
            self.mistake(index, input.path().as_deref(), names, probability);
        }
        Ok(())
    }

    fn mistake(
        &mut self,
        index: u64,
        path: Option<&str>,
        [label, predicted]: [&str; 2],
        probability: f32,
    ) {
        if label != predicted {
            self.mistakes.push(probability, || Mistake {
                index,
                path: path.map(str::to_owned),
                label: label.to_owned(),
                predicted: predicted.to_owned(),
                probability,
            });
        }
    }
}
