//! What answers a model's requests. Threads of the model's own take batches from its queue, prepare them, and run the
//! graph in a session; a small image for a quick graph is answered by the thread that read the request, since waking
//! another and being woken by it takes as long as the graph.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_inference::{BatchResults, Model, Prediction, RunError, Sessions};
use kiln_util::catch_panic;
use tracing::error;

use super::job::{Answer, Failure, Input, Job, Timings};
use super::prepare::Image;
use super::queue::Queue;
use crate::metrics::ModelMetrics;

/// Connections for each worker up to which a thread that reads requests answers them itself. More of them make batches
/// whose images together save more than handing them over costs.
const FEW_CONNECTIONS: usize = 4;

/// What those that answer for a model share.
#[derive(Debug)]
pub struct Work {
    /// The model's sessions.
    pub sessions: Sessions<Arc<Model>>,
    /// Where jobs come from.
    pub queue: Queue<Job>,
    /// Where they are counted.
    pub metrics: ModelMetrics,
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
    /// Whether the graph is so quick that the thread which read a request answers it.
    pub is_quick: bool,
}

/// An image of a batch that is prepared.
struct Prepared {
    job: Job,
    queue: Duration,
    prepare: Duration,
    pixels: Option<Vec<f32>>,
}

impl Work {
    /// Answers one image on the calling thread; `None` where that could keep other requests of the thread from being
    /// read, or there are so many connections that batches save more, and the image belongs into the queue.
    pub fn answer_here(
        &self,
        input: &Input,
        connections: usize,
    ) -> Option<Result<Answer, Failure>> {
        if !self.is_quick || connections > FEW_CONNECTIONS * self.workers {
            return None;
        }
        let image = Image::small(input)?;
        let _place = self.queue.pass()?;
        let answered = catch_panic(|| self.answer_one(&image).transpose());
        let answered = answered.unwrap_or_else(|message| {
            error!(message, "answering a request panicked");
            Some(Err(Failure::unexpected()))
        });
        if let Some(Err(failure)) = &answered {
            self.metrics.failed(failure);
        }
        answered
    }

    /// `None` where it would have to wait for a session.
    fn answer_one(&self, image: &Image) -> Result<Option<Answer>, Failure> {
        let preprocessor = self.sessions.model().preprocessor();
        let mut values = vec![0.0; preprocessor.len()];
        let start = Instant::now();
        let pixels = image.prepare(preprocessor, self.max_pixels, &mut values)?;
        let prepared = Instant::now();
        let Some(results) = self.sessions.try_classify(&mut values, 1) else {
            return Ok(None);
        };
        self.metrics.batch(1);
        let prediction = only(results)?;
        let timings = Timings {
            queue: Duration::ZERO,
            prepare: prepared - start,
            inference: prepared.elapsed(),
        };
        self.metrics.answered(&prediction, &timings);
        Ok(Some(Answer {
            prediction,
            timings,
            batch: 1,
            pixels,
        }))
    }

    /// Answers jobs until the queue is closed and empty.
    pub fn run(&self) {
        let mut values = Vec::new();
        while let Some(batch) = self
            .queue
            .take(self.max_batch, self.max_delay, self.workers)
        {
            self.count_queued();
            let is_alone = batch.is_alone;
            // The senders of what panics are dropped, which their receivers hear of.
            if let Err(message) = catch_panic(|| self.answer(batch.jobs, is_alone, &mut values)) {
                error!(message, "a worker panicked");
                values = Vec::new();
            }
        }
    }

    /// Tells the metrics how many jobs wait.
    pub fn count_queued(&self) {
        self.metrics.queued(self.queue.len());
    }

    fn answer(&self, jobs: Vec<(Job, Duration)>, is_alone: bool, values: &mut Vec<f32>) {
        let preprocessor = self.sessions.model().preprocessor();
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
            match Image::of(&job.input).prepare(preprocessor, self.max_pixels, out) {
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
        let model = self.sessions.model();
        let size = model.preprocessor().len();
        for (prepared, values) in prepared.into_iter().zip(values.chunks_exact_mut(size)) {
            // A run that failed may have left the images mirrored.
            if model.flips()
                && let Err(failure) = Image::of(&prepared.job.input).prepare(
                    model.preprocessor(),
                    self.max_pixels,
                    values,
                )
            {
                self.fail(prepared.job, failure);
                continue;
            }
            let start = Instant::now();
            let result = only(self.classify(values, 1, false));
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
            self.sessions.model().classify_prepared(values, images)
        } else {
            self.sessions.classify(values, images)
        }
    }

    fn respond(
        &self,
        prepared: Prepared,
        batch: usize,
        inference: Duration,
        result: Result<Prediction, Failure>,
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

/// What came of a single image.
fn only(results: Result<BatchResults, RunError>) -> Result<Prediction, Failure> {
    match results.map_err(model_failure)?.pop() {
        Some(result) => result.map_err(model_failure),
        None => Err(Failure::Model("the model gave no scores".into())),
    }
}

fn model_failure(error: impl std::fmt::Display) -> Failure {
    Failure::Model(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::path::Path;

    use image::{GrayImage, ImageFormat};
    use kiln_inference::Options;

    use super::super::Settings;
    use super::*;
    use crate::metrics::Metrics;

    fn image(width: u32, height: u32) -> Input {
        let mut bytes = Cursor::new(Vec::new());
        let image = GrayImage::new(width, height);
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        Input::File {
            bytes: bytes.into_inner().into(),
            name: "image 1".into(),
            keep_pixels: false,
        }
    }

    #[test]
    fn a_small_image_is_answered_at_once_where_nobody_else_asks() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inference/examples/digits.onnx");
        let model = Model::open_with(path, &Options::default().with_threads(2)).unwrap();
        let metrics = Metrics::default().of_model("digits", "1", model.labels());
        let work = Work::prepare(Arc::new(model), metrics, &Settings::default()).unwrap();
        // However busy the machine was while that was measured.
        let work = Arc::new(Work {
            is_quick: true,
            ..work
        });
        let small = image(28, 28);
        assert!(work.answer_here(&small, 1).is_none(), "no worker is idle");
        let workers: Vec<_> = (0..work.workers)
            .map(|_| {
                let work = Arc::clone(&work);
                std::thread::spawn(move || work.run())
            })
            .collect();
        let answer = loop {
            if let Some(answered) = work.answer_here(&small, 1) {
                break answered.unwrap();
            }
            std::thread::yield_now();
        };
        assert_eq!((answer.batch, answer.timings.queue), (1, Duration::ZERO));
        let few = FEW_CONNECTIONS * work.workers;
        assert!(work.answer_here(&small, few).is_some());
        assert!(
            work.answer_here(&small, few + 1).is_none(),
            "many connections"
        );
        assert!(work.answer_here(&image(129, 128), 1).is_none(), "large");
        let damaged = Input::Values(vec![0.0; 3]);
        let failed = work.answer_here(&damaged, 1).unwrap().unwrap_err();
        assert!(
            failed.to_string().contains("expected 784 values"),
            "{failed}"
        );
        work.queue.close();
        assert!(work.answer_here(&small, 1).is_none(), "retired");
        for worker in workers {
            worker.join().unwrap();
        }
    }
}
