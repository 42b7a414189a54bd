//! One batch: its images prepared, the graph run in one of the sessions that threads share.

use std::time::{Duration, Instant};

use kiln_util::CancelToken;
use rayon::prelude::*;

use crate::classify::Timings;
use crate::error::{NotFinite, RunError};
use crate::model::Model;
use crate::run::AnyScores;
use crate::sessions::Sessions;

/// The scores of the images of a batch that could be prepared.
#[derive(Debug, Default)]
pub struct Batch {
    /// The output's name.
    output: String,
    scores: Vec<f32>,
    probabilities: Vec<f32>,
    images: u32,
    /// Time in preparing, all threads together.
    pub prepare: Duration,
    /// Time in the graph.
    pub inference: Duration,
}

/// The inputs of a batch, and what came of preparing each.
pub type Items<T, E> = Vec<(T, Result<(), E>)>;

/// What is done with each batch.
pub struct Work<'a, P> {
    pub model: &'a Model,
    pub prepare: &'a P,
    /// Ends the work between two runs of the engine.
    pub cancel: Option<&'a CancelToken>,
}

impl<P> Work<'_, P> {
    /// On this thread and a session; `pixels` is kept for the next batch.
    pub fn on_session<T, E>(
        &self,
        items: Vec<T>,
        sessions: &Sessions<&Model>,
        pixels: &mut Vec<f32>,
    ) -> Result<(Items<T, E>, Batch), RunError>
    where
        P: Fn(&T, &mut [f32]) -> Result<(), E>,
    {
        let size = self.model.preprocessor.len();
        pixels.resize(items.len() * size, 0.0);
        let start = Instant::now();
        let prepared: Vec<_> = items
            .iter()
            .zip(pixels.chunks_exact_mut(size))
            .map(|(item, out)| (self.prepare)(item, out))
            .collect();
        let prepare = start.elapsed();
        let images = compact(pixels, size, &prepared);
        let items = items.into_iter().zip(prepared).collect();
        if images == 0 {
            return Ok((
                items,
                Batch {
                    prepare,
                    ..Batch::default()
                },
            ));
        }
        let mut session = sessions.acquire()?;
        let scores = self
            .model
            .classified(&mut pixels[..images * size], |pixels| {
                self.model
                    .run_on(&mut **session, pixels, images, self.cancel)
            })?;
        Ok((items, Batch::new(scores, images, prepare)))
    }

    /// Prepared on all of the model's threads, and run as a whole.
    pub fn at_once<T, E>(&self, items: Vec<T>) -> Result<(Items<T, E>, Batch), RunError>
    where
        T: Send + Sync,
        E: Send,
        P: Fn(&T, &mut [f32]) -> Result<(), E> + Sync,
    {
        let size = self.model.preprocessor.len();
        let mut pixels = vec![0.0; items.len() * size];
        let timed = |(item, out): (&T, &mut [f32])| {
            let start = Instant::now();
            let prepared = (self.prepare)(item, out);
            (prepared, start.elapsed())
        };
        let timed: Vec<_> = self.model.on_threads(|| {
            items
                .par_iter()
                .zip(pixels.par_chunks_exact_mut(size))
                .map(timed)
                .collect()
        });
        let (prepared, durations): (Vec<_>, Vec<Duration>) = timed.into_iter().unzip();
        let prepare = durations.into_iter().sum();
        let images = compact(&mut pixels, size, &prepared);
        let items = items.into_iter().zip(prepared).collect();
        if images == 0 {
            return Ok((
                items,
                Batch {
                    prepare,
                    ..Batch::default()
                },
            ));
        }
        let scores = self
            .model
            .classified(&mut pixels[..images * size], |pixels| {
                self.model.run_any(pixels, images)
            })?;
        Ok((items, Batch::new(scores, images, prepare)))
    }
}

/// Moves the images that were prepared to the front and counts them.
fn compact<E>(pixels: &mut [f32], size: usize, prepared: &[Result<(), E>]) -> usize {
    let mut images = 0;
    for (at, _) in prepared
        .iter()
        .enumerate()
        .filter(|(_, result)| result.is_ok())
    {
        if at != images {
            pixels.copy_within(at * size..(at + 1) * size, images * size);
        }
        images += 1;
    }
    images
}

impl Batch {
    fn new(AnyScores { output, scores }: AnyScores, images: usize, prepare: Duration) -> Self {
        let (probabilities, inference) = (scores.probabilities(), scores.inference);
        Self {
            output,
            scores: scores.data,
            probabilities,
            images: images as u32,
            prepare,
            inference,
        }
    }

    /// Whether there was anything to run the graph for.
    pub const fn has_images(&self) -> bool {
        self.images > 0
    }

    /// Scores and probabilities of each image, where all scores are finite.
    pub fn rows(
        &self,
        classes: usize,
    ) -> impl Iterator<Item = Result<(&[f32], &[f32]), NotFinite>> {
        let rows = self
            .scores
            .chunks_exact(classes)
            .zip(self.probabilities.chunks_exact(classes));
        rows.map(move |(scores, probabilities)| {
            match scores.iter().find(|score| !score.is_finite()) {
                None => Ok((scores, probabilities)),
                Some(value) => Err(NotFinite {
                    output: self.output.clone(),
                    value: value.to_string(),
                }),
            }
        })
    }

    /// Each image's share of the time.
    pub fn timings(&self) -> Timings {
        let images = self.images.max(1);
        Timings {
            preprocess: self.prepare / images,
            inference: self.inference / images,
        }
    }
}
