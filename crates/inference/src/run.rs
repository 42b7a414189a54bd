//! Running a batch of prepared inputs, and the scores that come of it.

use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kiln_metrics::sigmoid;
use kiln_model::OutputKind;
use rayon::prelude::*;

use kiln_util::CancelToken;

use crate::chunks::{Chunk, NamedTensor, concatenate};
use crate::engine::error::EngineError;
use crate::engine::interface::{Outputs, Session};
use crate::error::RunError;
use crate::input::Input;
use crate::model::Model;
use crate::spec::ModelSpec;

/// How far rounding, in half precision too, takes a probability out of 0 to 1, and a sum from 1.
const ROUNDING: f32 = 0.01;

/// A run of an engine on a batch of this size.
type RunInput<'a> = dyn FnMut(&Input<'_>, usize) -> Result<Vec<NamedTensor>, EngineError> + 'a;

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
        self.scores(outputs, images, start.elapsed())?.finite()
    }

    /// The same for images of which some may have scores that are not finite.
    pub(crate) fn run_any(&self, values: &[f32], images: usize) -> Result<AnyScores, RunError> {
        let start = Instant::now();
        let outputs = self.outputs(values, images, Outputs::First)?;
        self.scores(outputs, images, start.elapsed())
    }

    /// Runs the graph for `[images, channels, height, width]`, and for the mirror images if the model is to: then
    /// the scores are those of the mean probabilities. The images are left mirrored.
    pub(crate) fn classified(
        &self,
        values: &mut [f32],
        mut run: impl FnMut(&[f32]) -> Result<AnyScores, RunError>,
    ) -> Result<AnyScores, RunError> {
        let mut seen = run(values)?;
        if self.flips() {
            let [_, _, width] = self.preprocessor.shape();
            values.chunks_exact_mut(width).for_each(<[f32]>::reverse);
            seen.scores.average(&run(values)?.scores);
        }
        Ok(seen)
    }

    /// The same in a session: on this thread, and those of the session if it has any. Ends with an error before the
    /// next run of the engine if cancelled.
    pub(crate) fn run_on(
        &self,
        session: &mut dyn Session,
        values: &[f32],
        images: usize,
        cancel: Option<&CancelToken>,
    ) -> Result<AnyScores, RunError> {
        self.check_input(values, images)?;
        let start = Instant::now();
        let mut parts = Vec::new();
        for chunk in session.chunks(images) {
            if cancel.is_some_and(CancelToken::is_cancelled) {
                return Err(RunError::Cancelled);
            }
            parts.push(self.run_chunk(values, &chunk, |input, batch| {
                session.run(input, batch, Outputs::First)
            })?);
        }
        self.scores(concatenate(parts)?, images, start.elapsed())
    }

    /// Returns the scores, their shape checked, and their values where they are finite. One score for
    /// an image becomes those of two classes.
    fn scores(
        &self,
        outputs: Vec<NamedTensor>,
        images: usize,
        inference: Duration,
    ) -> Result<AnyScores, RunError> {
        let spec = self.spec();
        let (classes, kind) = (self.labels().len(), spec.output);
        let name = spec.output_name.clone();
        let data = match outputs.into_iter().next() {
            None => Vec::new(),
            Some(NamedTensor { shape, data, .. }) => {
                let columns = if spec.scores.is_binary { 1 } else { classes };
                let fits = match shape.as_slice() {
                    [n] => spec.scores.is_binary && *n == images,
                    [n, c, rest @ ..] => {
                        [*n, *c] == [images, columns] && rest.iter().all(|&n| n == 1)
                    }
                    [] => false,
                };
                if !fits {
                    return Err(RunError::OutputShape {
                        name,
                        expected: [images, columns],
                        found: shape,
                    });
                }
                data
            }
        };
        check_probabilities(&data, spec, classes)?;
        let data = if spec.scores.is_binary {
            data.into_iter()
                .flat_map(|score| two_classes(score, kind))
                .collect()
        } else {
            data
        };
        let scores = Scores {
            data,
            classes,
            kind: spec.kind_of_scores(),
            inference,
        };
        Ok(AnyScores {
            output: name,
            scores,
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
        let engine = &self.engine;
        let parts = if let [only] = chunks.as_slice() {
            let run = || {
                self.run_chunk(values, only, |input, batch| {
                    engine.run(input, batch, outputs)
                })
            };
            vec![if engine.runs_in_pool() {
                self.on_threads(run)?
            } else {
                run()?
            }]
        } else {
            let run = |chunk: &Chunk| {
                self.run_chunk(values, chunk, |input, batch| {
                    engine.run_beside_others(input, batch, outputs)
                })
            };
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

    /// A chunk as one run of the engine; as a run for each image where a graph that leaves the batch
    /// open fails at more than one: its shapes were traced with one.
    fn run_chunk(
        &self,
        values: &[f32],
        chunk: &Chunk,
        mut run: impl FnMut(&Input<'_>, usize) -> Result<Vec<NamedTensor>, EngineError>,
    ) -> Result<Vec<NamedTensor>, EngineError> {
        if chunk.batch == 1 || self.spec().batch.is_some() {
            return self.run_once(values, chunk, &mut run);
        }
        let singles = |run: &mut RunInput<'_>| {
            let images = chunk.start..chunk.start + chunk.images;
            let parts = images.map(|start| {
                let single = Chunk {
                    start,
                    images: 1,
                    batch: 1,
                };
                self.run_once(values, &single, run)
            });
            concatenate(parts.collect::<Result<_, _>>()?)
        };
        if self.one_at_a_time.load(Ordering::Relaxed) {
            return singles(&mut run);
        }
        self.run_once(values, chunk, &mut run).or_else(|error| {
            let outputs = singles(&mut run).map_err(|_| error)?;
            self.one_at_a_time.store(true, Ordering::Relaxed);
            Ok(outputs)
        })
    }

    /// One run of the engine, with zeros in place of the images that the chunk has too few.
    fn run_once(
        &self,
        values: &[f32],
        chunk: &Chunk,
        run: &mut RunInput<'_>,
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

/// Checks that scores which are specified to be probabilities are some; those of an image to be a
/// distribution, unless they were rounded to 8 bits.
fn check_probabilities(data: &[f32], spec: &ModelSpec, classes: usize) -> Result<(), RunError> {
    if !spec.output.is_probabilities() {
        return Ok(());
    }
    let columns = if spec.scores.is_binary {
        1
    } else {
        classes.max(1)
    };
    let name = || spec.output_name.clone();
    let no_probability =
        |value: &f32| value.is_finite() && !(-ROUNDING..=1.0 + ROUNDING).contains(value);
    if let Some(at) = data.iter().position(no_probability) {
        return Err(RunError::NoProbability {
            name: name(),
            index: at / columns,
            value: data[at],
        });
    }
    if spec.output != OutputKind::Probabilities || spec.scores.is_binary || spec.scores.is_quantized
    {
        return Ok(());
    }
    let mut sums = data
        .chunks_exact(columns)
        .map(|row| row.iter().sum::<f32>());
    let no_distribution = |sum: f32| sum.is_finite() && (sum - 1.0).abs() > ROUNDING;
    match sums.clone().position(no_distribution) {
        Some(index) => Err(RunError::NoDistribution {
            name: name(),
            index,
            sum: sums.nth(index).unwrap_or_default(),
        }),
        None => Ok(()),
    }
}

/// The scores of two classes by the one of the second.
fn two_classes(score: f32, kind: OutputKind) -> [f32; 2] {
    match kind {
        OutputKind::Probabilities | OutputKind::Sigmoid => [(1.0 - score).max(0.0), score.max(0.0)],
        // Their softmax is the score's sigmoid.
        OutputKind::Logits | OutputKind::LogProbabilities | OutputKind::SigmoidLogits => {
            [0.0, score]
        }
    }
}

/// Scores of which some may be NaN or infinite.
#[derive(Debug)]
pub(crate) struct AnyScores {
    /// The output's name.
    pub output: String,
    pub scores: Scores,
}

impl AnyScores {
    /// Returns the scores, all of which must be finite.
    pub(crate) fn finite(self) -> Result<Scores, RunError> {
        let data = &self.scores.data;
        match data.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(RunError::OutputValue {
                name: self.output,
                index: at / self.scores.classes,
                value: data[at],
            }),
            None => Ok(self.scores),
        }
    }
}

/// The scores of a batch, as the graph gives them.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// `[images, classes]` in row-major order; every value is finite.
    pub data: Vec<f32>,
    /// Number of classes, at least one.
    pub classes: usize,
    /// What the scores are.
    pub kind: OutputKind,
    /// Time that the engine took for the batch.
    pub inference: Duration,
}

impl Scores {
    /// Returns the scores of each image; none where `classes` was set to 0.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        let data = if self.classes == 0 {
            &[][..]
        } else {
            &self.data
        };
        data.chunks_exact(self.classes.max(1))
    }

    /// Takes the scores whose probabilities are the means of these and of others, of the same images.
    fn average(&mut self, other: &Self) {
        self.inference += other.inference;
        let means: Vec<f32> = self
            .probabilities()
            .iter()
            .zip(other.probabilities())
            .map(|(one, other)| f32::midpoint(*one, other))
            .collect();
        for (score, mean) in self.data.iter_mut().zip(means) {
            *score = match self.kind {
                // 0 has no logarithm, and what is not a number stays it.
                OutputKind::Logits | OutputKind::LogProbabilities if mean < f32::MIN_POSITIVE => {
                    f32::MIN_POSITIVE.ln()
                }
                OutputKind::Logits | OutputKind::LogProbabilities => mean.ln(),
                OutputKind::SigmoidLogits => logit(mean),
                OutputKind::Probabilities | OutputKind::Sigmoid => mean,
            };
        }
    }

    /// Returns probabilities `[images, classes]` in row-major order: the scores, after a softmax or sigmoid
    /// where they are logits.
    pub fn probabilities(&self) -> Vec<f32> {
        let mut data = self.data.clone();
        match self.kind {
            OutputKind::Logits | OutputKind::LogProbabilities => {
                data.chunks_exact_mut(self.classes.max(1)).for_each(softmax);
            }
            OutputKind::SigmoidLogits => data.iter_mut().for_each(|value| *value = sigmoid(*value)),
            OutputKind::Probabilities | OutputKind::Sigmoid => {}
        }
        data
    }
}

/// `1 / (1 + exp(-x))`, computed in f64.
/// What [`sigmoid`] makes this probability of, at most 100 away from 0, where f32 has no other probability than 0
/// and 1.
fn logit(probability: f32) -> f32 {
    let probability = f64::from(probability);
    (probability / (1.0 - probability))
        .ln()
        .clamp(-100.0, 100.0) as f32
}

/// Softmax in place. The largest value is subtracted first, so that no exponential overflows; the
/// sum is taken in f64.
///
/// Not that of `kiln-metrics`, whose exponentials are in f64: files of predictions are compared and
/// resumed by what this one gives, to the last bit.
fn softmax(row: &mut [f32]) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0_f64;
    for value in &mut *row {
        *value = (*value - max).exp();
        sum += f64::from(*value);
    }
    for value in row {
        *value = (f64::from(*value) / sum) as f32;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn probabilities(data: &[f32], kind: OutputKind) -> Vec<f32> {
        Scores {
            data: data.to_vec(),
            classes: data.len(),
            kind,
            inference: Duration::ZERO,
        }
        .probabilities()
    }

    #[test]
    fn softmax_is_applied_to_logits_only() {
        let even = probabilities(&[2.0, 2.0], OutputKind::Logits);
        assert_eq!(even, [0.5, 0.5]);
        let e = std::f64::consts::E;
        let two = probabilities(&[1.0, 0.0], OutputKind::Logits);
        assert!((f64::from(two[0]) - e / (e + 1.0)).abs() < 1e-7);
        assert_eq!(
            probabilities(&[0.25, 0.75], OutputKind::Probabilities),
            [0.25, 0.75]
        );
    }

    #[test]
    fn averages_are_of_probabilities_whatever_the_scores_are() {
        let scores = |data: &[f32], kind| Scores {
            data: data.to_vec(),
            classes: data.len(),
            kind,
            inference: Duration::from_secs(1),
        };
        for (kind, one, other, expected) in [
            (OutputKind::Logits, [0.0, 0.0], [200.0, 0.0], [0.75, 0.25]),
            (OutputKind::Logits, [200.0, 0.0], [200.0, 0.0], [1.0, 0.0]),
            (
                OutputKind::SigmoidLogits,
                [0.0, 500.0],
                [500.0, 500.0],
                [0.75, 1.0],
            ),
            (
                OutputKind::Probabilities,
                [0.5, 0.5],
                [1.0, 0.0],
                [0.75, 0.25],
            ),
            (OutputKind::Sigmoid, [0.5, 1.0], [0.25, 1.0], [0.375, 1.0]),
        ] {
            let mut mean = scores(&one, kind);
            mean.average(&scores(&other, kind));
            assert!(mean.data.iter().all(|score| score.is_finite()), "{kind:?}");
            for (found, expected) in mean.probabilities().iter().zip(expected) {
                assert!(
                    (found - expected).abs() < 1e-6,
                    "{kind:?}: {found} {expected}"
                );
            }
            assert_eq!(mean.inference, Duration::from_secs(2));
        }
        let mut broken = scores(&[f32::NAN, 0.0], OutputKind::Logits);
        broken.average(&scores(&[1.0, 0.0], OutputKind::Logits));
        assert!(broken.data.iter().any(|score| score.is_nan()));
    }

    #[test]
    fn extreme_logits_do_not_overflow() {
        assert_eq!(
            probabilities(&[f32::MAX, f32::MIN], OutputKind::Logits),
            [1.0, 0.0]
        );
        assert_eq!(
            probabilities(&[f32::MIN, f32::MIN], OutputKind::Logits),
            [0.5, 0.5]
        );
    }

    #[test]
    fn scores_of_no_classes_have_no_rows() {
        let scores = Scores {
            data: vec![1.0, 2.0],
            classes: 0,
            kind: OutputKind::Logits,
            inference: Duration::ZERO,
        };
        assert_eq!((scores.rows().len(), scores.probabilities().len()), (0, 2));
    }

    proptest! {
        #[test]
        fn a_softmax_sums_to_one_and_keeps_the_order(row in prop::collection::vec(-100.0_f32..100.0, 1..50)) {
            let out = probabilities(&row, OutputKind::Logits);
            let sum: f64 = out.iter().map(|&p| f64::from(p)).sum();
            prop_assert!((sum - 1.0).abs() < 1e-6, "{sum}");
            for (a, b) in row.iter().zip(&out).flat_map(|a| row.iter().zip(&out).map(move |b| (a, b))) {
                prop_assert!(a.0 < b.0 || a.1 >= b.1);
            }
        }
    }
}
