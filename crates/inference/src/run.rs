//! Running a batch of prepared inputs.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use kiln_model::OutputKind;
use rayon::prelude::*;

use crate::chunks::Chunk;
use crate::engine::error::EngineError;
use crate::engine::interface::{Outputs, Session};
use crate::error::RunError;
use crate::input::Input;
use crate::model::Model;
use crate::scores::Scores;
use crate::spec::ModelSpec;
use crate::tensor::{NamedTensor, concatenate};

/// How far rounding, in half precision too, takes a probability out of 0 to 1.
const ROUNDING: f32 = 0.01;

impl Model {
    /// Computes the scores of `images` prepared images: `values` is `[images, channels, height, width]` in
    /// row-major order, as [`preprocessor`](Self::preprocessor) gives it. For a graph that takes
    /// uint8, it is rounded and put into the graph's order here.
    ///
    /// # Errors
    ///
    /// Returns that `values` has another length or holds a value that is not finite, the engine's
    /// failure, or scores of another shape, that are not finite, or that are not probabilities though
    /// the model is specified to give some.
    pub fn run(&self, values: &[f32], images: usize) -> Result<Scores, RunError> {
        let start = Instant::now();
        let outputs = self.outputs(values, images, Outputs::First)?;
        self.scores(outputs, images, start.elapsed())
    }

    /// The same in a session: on this thread, and those of the session if it has any.
    pub(crate) fn run_on(
        &self,
        session: &mut dyn Session,
        values: &[f32],
        images: usize,
    ) -> Result<Scores, RunError> {
        self.check_input(values, images)?;
        let start = Instant::now();
        let mut parts = Vec::new();
        for chunk in session.chunks(images) {
            parts.push(self.run_chunk(values, &chunk, |input, batch| {
                session.run(input, batch, Outputs::First)
            })?);
        }
        self.scores(concatenate(parts)?, images, start.elapsed())
    }

    /// Returns the first output, checked.
    fn scores(
        &self,
        outputs: Vec<NamedTensor>,
        images: usize,
        inference: Duration,
    ) -> Result<Scores, RunError> {
        let classes = self.labels.len();
        let kind = self.output_kind();
        let Some(scores) = outputs.into_iter().next() else {
            return Ok(Scores {
                data: Vec::new(),
                classes,
                kind,
                inference,
            });
        };
        let NamedTensor { name, shape, data } = scores;
        if !matches!(shape.as_slice(), [n, c, rest @ ..] if [*n, *c] == [images, classes] && rest.iter().all(|&n| n == 1))
        {
            return Err(RunError::OutputShape {
                name,
                expected: [images, classes],
                found: shape,
            });
        }
        if let Some(at) = data.iter().position(|value| !value.is_finite()) {
            return Err(RunError::OutputValue {
                name,
                index: at / classes,
                value: data[at],
            });
        }
        let no_probability = |value: &f32| !(-ROUNDING..=1.0 + ROUNDING).contains(value);
        if let (OutputKind::Probabilities, Some(at)) = (kind, data.iter().position(no_probability))
        {
            return Err(RunError::NoProbability {
                name,
                index: at / classes,
                value: data[at],
            });
        }
        Ok(Scores {
            data,
            classes,
            kind,
            inference,
        })
    }

    /// Computes every output of the graph for `images` prepared images, in the graph's order, to compare
    /// layer by layer. Each has the batch as its first axis. No images, no outputs.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), but for what concerns the scores.
    pub fn run_named(&self, values: &[f32], images: usize) -> Result<Vec<NamedTensor>, RunError> {
        self.outputs(values, images, Outputs::All)
    }

    /// Computes these outputs of the graph.
    pub(crate) fn outputs(
        &self,
        values: &[f32],
        images: usize,
        outputs: Outputs,
    ) -> Result<Vec<NamedTensor>, RunError> {
        self.check_input(values, images)?;
        let chunks = self.engine.chunks(images);
        let run = |chunk: &Chunk| {
            self.run_chunk(values, chunk, |input, batch| {
                self.engine.run(input, batch, outputs)
            })
        };
        let parts = if let [only] = chunks.as_slice() {
            vec![run(only)?]
        } else {
            self.on_threads(|| chunks.par_iter().map(run).collect::<Result<Vec<_>, _>>())?
        };
        Ok(concatenate(parts)?)
    }

    fn check_input(&self, values: &[f32], images: usize) -> Result<(), RunError> {
        let (size, shape) = (self.preprocessor.len(), self.preprocessor.shape());
        let expected = images.saturating_mul(size);
        if values.len() != expected {
            return Err(RunError::InputLength {
                images,
                shape,
                expected,
                found: values.len(),
            });
        }
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(RunError::InputValue {
                index: at / size,
                value: values[at],
            }),
            None => Ok(()),
        }
    }

    /// One run of the engine, with zeros in place of the images that the chunk has too few.
    fn run_chunk(
        &self,
        values: &[f32],
        chunk: &Chunk,
        mut run: impl FnMut(&Input<'_>, usize) -> Result<Vec<NamedTensor>, EngineError>,
    ) -> Result<Vec<NamedTensor>, EngineError> {
        let size = self.preprocessor.len();
        let mut input = Cow::Borrowed(&values[chunk.start * size..][..chunk.images * size]);
        if chunk.images < chunk.batch {
            input.to_mut().resize(chunk.batch * size, 0.0);
        }
        let ModelSpec {
            input: kind,
            layout,
            ..
        } = *self.spec();
        let outputs = run(
            &kind.of_values(input, self.preprocessor.shape(), layout),
            chunk.batch,
        )?;
        outputs
            .into_iter()
            .map(|output| output.keep(chunk))
            .collect()
    }
}
