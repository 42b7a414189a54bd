//! The threads that answer a model's queue: each takes a batch, prepares it, and runs the graph in a session.

use std::time::{Duration, Instant};

use kiln_inference::{BatchResults, Model, RunError, Sessions};
use kiln_util::catch_panic;
use tracing::error;

use super::job::{Answer, Failure, Job, Timings};
use super::prepare::prepare;
use super::queue::Queue;
use crate::metrics::ModelMetrics;

/// What the workers of a model share.
pub struct Work<'a, 'm> {
    /// The model.
    pub model: &'a Model,
    /// Its sessions.
    pub sessions: &'a Sessions<'m>,
    /// Where jobs come from.
    pub queue: &'a Queue<Job>,
    /// Where they are counted.
    pub metrics: &'a ModelMetrics,
    /// Maximum number of images in a batch.
    pub max_batch: usize,
    /// How long a batch is waited for that is not full.
    pub max_delay: Duration,
    /// Maximum number of pixels of an image.
    pub max_pixels: u64,
    /// Number of workers.
    pub workers: usize,
    /// Whether a single image is computed faster by all threads together.
    pub shares_single: bool,
}

/// An image of a batch that is prepared.
struct Prepared {
    job: Job,
    queue: Duration,
    prepare: Duration,
    pixels: Option<Vec<f32>>,
}

impl Work<'_, '_> {
    /// Answers jobs until the queue is closed and empty.
    pub fn run(&self) {
        let mut values = Vec::new();
        while let Some(batch) = self
            .queue
            .take(self.max_batch, self.max_delay, self.workers)
        {
            self.metrics.queued(self.queue.len());
            let is_alone = batch.is_alone;
            // The senders of what panics are dropped, which their receivers hear of.
            if let Err(message) = catch_panic(|| self.answer(batch.jobs, is_alone, &mut values)) {
                error!(message, "a worker panicked");
                values = Vec::new();
            }
        }
    }

    fn answer(&self, jobs: Vec<(Job, Duration)>, is_alone: bool, values: &mut Vec<f32>) {
        let preprocessor = self.model.preprocessor();
        let size = preprocessor.len();
        values.resize(jobs.len() * size, 0.0);
        let mut prepared: Vec<Prepared> = Vec::with_capacity(jobs.len());
        for (job, queue) in jobs {
            // Nobody waits any more.
            if job.respond.is_closed() {
                continue;
            }
            let start = Instant::now();
            let out = &mut values[prepared.len() * size..][..size];
            match prepare(&job.input, preprocessor, self.max_pixels, out) {
                Ok(pixels) => prepared.push(Prepared {
                    job,
                    queue,
                    prepare: start.elapsed(),
                    pixels,
                }),
                Err(failure) => self.fail(job, failure),
            }
        }
        let images = prepared.len();
        if images == 0 {
            return;
        }
        let values = &mut values[..images * size];
        self.metrics.batch(images);
        let start = Instant::now();
        match self.classify(values, images, is_alone && images == 1) {
            Ok(results) => {
                let inference = start.elapsed();
                for (prepared, result) in prepared.into_iter().zip(results) {
                    self.respond(prepared, images, inference, result.map_err(model_failure));
                }
            }
            Err(failure) if images == 1 => {
                for prepared in prepared {
                    self.fail(prepared.job, model_failure(&failure));
                }
            }
            // One image may be at fault, such as values that make scores which are no probabilities.
            Err(_) => self.one_by_one(prepared, values),
        }
    }

    fn one_by_one(&self, prepared: Vec<Prepared>, values: &mut [f32]) {
        let size = self.model.preprocessor().len();
        for (prepared, values) in prepared.into_iter().zip(values.chunks_exact_mut(size)) {
            // A run that failed may have left the images mirrored.
            if self.model.flips()
                && let Err(failure) = prepare(
                    &prepared.job.input,
                    self.model.preprocessor(),
                    self.max_pixels,
                    values,
                )
            {
                self.fail(prepared.job, failure);
                continue;
            }
            let start = Instant::now();
            let result = self.classify(values, 1, false).map_err(model_failure);
            let result = result.and_then(|mut results| match results.pop() {
                Some(result) => result.map_err(model_failure),
                None => Err(Failure::Model("the model gave no scores".into())),
            });
            self.respond(prepared, 1, start.elapsed(), result);
        }
    }

    fn classify(
        &self,
        values: &mut [f32],
        images: usize,
        is_alone: bool,
    ) -> Result<BatchResults, RunError> {
        if is_alone && self.shares_single {
            self.model.classify_prepared(values, images)
        } else {
            self.sessions.classify(values, images)
        }
    }

    fn respond(
        &self,
        prepared: Prepared,
        batch: usize,
        inference: Duration,
        result: Result<kiln_inference::Prediction, Failure>,
    ) {
        let Prepared {
            job,
            queue,
            prepare,
            pixels,
        } = prepared;
        match result {
            Ok(prediction) => {
                let timings = Timings {
                    queue,
                    prepare,
                    inference,
                };
                self.metrics.answered(&prediction, &timings);
                // Whoever asked may have left by now.
                let _ = job.respond.send(Ok(Answer {
                    prediction,
                    timings,
                    batch,
                    pixels,
                }));
            }
            Err(failure) => self.fail(job, failure),
        }
    }

    fn fail(&self, job: Job, failure: Failure) {
        self.metrics.failed(&failure);
        let _ = job.respond.send(Err(failure));
    }
}

fn model_failure(error: impl std::fmt::Display) -> Failure {
    Failure::Model(error.to_string())
}
