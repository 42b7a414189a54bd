//! Any number of images through a model: prepared and computed on every thread, delivered in order,
//! in flat memory.

mod batch;
mod feed;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use self::batch::{Batch, Work};
use self::feed::Feed;
use kiln_util::CancelToken;

use crate::classify::Prediction;
use crate::error::{RunError, Unclassified};
use crate::model::Model;
use crate::sessions::Sessions;

/// Most images of a batch whose size was not given: more make no engine faster.
const LARGEST_BATCH: usize = 64;

/// Most bytes of a batch's input where its size was not given, so that large images take smaller
/// batches.
const BATCH_BYTES: usize = 8 << 20;

/// How [`Model::stream`] works.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct StreamOptions {
    /// Images per batch, at least 1; where not given, 64, or as many as have 8 MiB of input, if
    /// that is fewer. Each thread works on a batch of its own, so memory grows with this number
    /// times that of the threads, and with nothing else. A graph whose batch size is fixed runs at
    /// that size.
    pub batch_size: Option<usize>,
    /// Runs zeros on every session before the clock starts, since engines plan and allocate at their first run of
    /// each size.
    pub warm_up: bool,
    /// Ends the stream with [`RunError::Cancelled`] before the next run of the engine, of which a batch may take
    /// several. What `each` hears of until then is whole.
    pub cancel: Option<CancelToken>,
}

impl StreamOptions {
    /// Sets the number of images per batch, `None` for the default.
    #[must_use]
    pub fn with_batch_size(mut self, images: impl Into<Option<usize>>) -> Self {
        self.batch_size = images.into();
        self
    }

    /// Sets whether sessions are warmed up first.
    #[must_use]
    pub const fn with_warm_up(mut self, warm_up: bool) -> Self {
        self.warm_up = warm_up;
        self
    }

    /// Sets what ends the stream.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancelToken) -> Self {
        self.cancel = Some(cancel);
        self
    }
}

/// Scores and probabilities of an image of a stream.
#[derive(Debug, Clone, Copy)]
pub struct Classified<'a> {
    /// What the graph gave for each class, all finite.
    pub scores: &'a [f32],
    /// The probability of each class.
    pub probabilities: &'a [f32],
    batch: &'a Batch,
    model: &'a Model,
}

impl Classified<'_> {
    /// Returns the place of the predicted class among the labels.
    pub fn predicted(&self) -> usize {
        let classes = &self.model.classes;
        classes.predicted(self.scores, self.probabilities)
    }

    /// Returns the places of the classes that the image has among the labels, ascending, as
    /// [`Prediction::chosen`].
    pub fn chosen(&self) -> Vec<usize> {
        let classes = &self.model.classes;
        classes.chosen(self.scores, self.probabilities)
    }

    /// Returns the same as an owned prediction.
    pub fn prediction(&self) -> Prediction {
        let timings = self.batch.timings();
        Prediction::new(
            Arc::clone(&self.model.classes),
            self.scores.to_vec(),
            self.probabilities.to_vec(),
            timings,
        )
    }
}

/// What a stream did, and where the time went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamSummary {
    /// Images that were classified.
    pub images: u64,
    /// Images that could not be prepared, or whose scores are not finite.
    pub failed: u64,
    /// Images per batch.
    pub batch_size: usize,
    /// Maximum number of concurrent runs: the engine's sessions, or the batches where those are
    /// fewer.
    pub sessions: usize,
    /// From the first batch to the last, without the warm-up.
    pub elapsed: Duration,
    /// Opening and warming up the sessions.
    pub warm_up: Duration,
    /// Time in `prepare`, all threads together.
    pub prepare: Duration,
    /// Time in the graph, all sessions together.
    pub inference: Duration,
}

impl Model {
    /// Classifies every input, in order, with flat memory however many there are.
    ///
    /// Each of the model's threads takes the next batch of `inputs`, has `prepare` write the
    /// model's input of each image (`[channels, height, width]`, see
    /// [`preprocessor`](Self::preprocessor)), and runs the graph. `each` is called on this thread
    /// with every input and its result, in the order of `inputs`: the scores, the error of
    /// `prepare`, or that its scores are not finite, neither of which ends anything. Where `each`
    /// breaks, the stream ends.
    ///
    /// An engine that gains from it runs several graphs concurrently, each in a session of its own: tract
    /// shares its plans between them, ONNX Runtime takes a session for each, as long as copies of
    /// the model take no more than 256 MiB, or those of
    /// `OrtOptions::concurrent_runs` where they are as many. Inputs
    /// that end within the first batch run as [`classify_batch`](Self::classify_batch) does,
    /// without sessions.
    ///
    /// # Errors
    ///
    /// Returns a batch size of 0, a thread that cannot be started, the engine's failure or scores of
    /// another shape or range than specified. What concerns one image is not one of these: `each` gets
    /// it.
    ///
    /// ```no_run
    /// use std::ops::ControlFlow;
    ///
    /// use kiln_inference::{Model, Picture, StreamOptions, open_image};
    ///
    /// let model = Model::open("model.onnx")?;
    /// let paths = std::fs::read_dir("photos")?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    /// let prepare = |path: &std::path::PathBuf, out: &mut [f32]| open_image(path)?.prepare(model.preprocessor(), out);
    /// let ended = model.stream(paths.into_iter(), &StreamOptions::default(), prepare, |path, result| {
    ///     match result {
    ///         Ok(classified) => println!("{}: {}", path.display(), classified.prediction().label),
    ///         Err(error) => eprintln!("{error}"),
    ///     }
    ///     ControlFlow::<()>::Continue(())
    /// })?;
    /// if let ControlFlow::Continue(summary) = ended {
    ///     println!("{} images in {:?}", summary.images, summary.elapsed);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stream<T, E, B>(
        &self,
        mut inputs: impl Iterator<Item = T> + Send,
        options: &StreamOptions,
        prepare: impl Fn(&T, &mut [f32]) -> Result<(), E> + Sync,
        each: impl FnMut(T, Result<Classified<'_>, Unclassified<E>>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B, StreamSummary>, RunError>
    where
        T: Send + Sync,
        E: Send,
    {
        let batch_size = self.batch_size(options)?;
        let summary = StreamSummary {
            batch_size,
            ..StreamSummary::default()
        };
        let mut delivery = Delivery {
            model: self,
            each,
            summary,
            runs: 0,
        };
        let start = Instant::now();
        let first: Vec<T> = inputs.by_ref().take(batch_size).collect();
        let work = Work {
            model: self,
            prepare: &prepare,
            cancel: options.cancel.as_ref(),
        };
        if first.len() < batch_size && !options.warm_up {
            delivery.summary.sessions = 1;
            let (items, batch) = work.at_once(first)?;
            if let ControlFlow::Break(value) = delivery.deliver(items, &batch) {
                return Ok(ControlFlow::Break(value));
            }
            return Ok(ControlFlow::Continue(StreamSummary {
                elapsed: start.elapsed(),
                ..delivery.summary
            }));
        }
        let ended =
            delivery.through_sessions(first.into_iter().chain(inputs), options.warm_up, &work)?;
        Ok(match ended {
            ControlFlow::Break(value) => ControlFlow::Break(value),
            ControlFlow::Continue(()) => ControlFlow::Continue(delivery.summary),
        })
    }

    /// Returns the number of images per batch of a [`stream`](Self::stream) that is not given one.
    pub fn stream_batch_size(&self) -> usize {
        let fitting = BATCH_BYTES / (self.preprocessor.len() * size_of::<f32>());
        self.spec().batch.unwrap_or(fitting.clamp(1, LARGEST_BATCH))
    }

    fn batch_size(&self, options: &StreamOptions) -> Result<usize, RunError> {
        match options.batch_size {
            Some(0) => Err(RunError::Zero {
                option: "batch_size",
            }),
            given => Ok(given.unwrap_or_else(|| self.stream_batch_size())),
        }
    }
}

/// Hands results to the caller and counts them.
struct Delivery<'a, F> {
    model: &'a Model,
    each: F,
    summary: StreamSummary,
    /// Batches that the graph was run for.
    runs: usize,
}

impl<F> Delivery<'_, F> {
    /// Runs all inputs on threads and sessions.
    fn through_sessions<T, E, B, P>(
        &mut self,
        inputs: impl Iterator<Item = T> + Send,
        warm_up: bool,
        work: &Work<'_, P>,
    ) -> Result<ControlFlow<B>, RunError>
    where
        T: Send,
        E: Send,
        P: Fn(&T, &mut [f32]) -> Result<(), E> + Sync,
        F: FnMut(T, Result<Classified<'_>, Unclassified<E>>) -> ControlFlow<B>,
    {
        let (threads, batch_size) = (self.model.runtime().threads, self.summary.batch_size);
        let sessions = Sessions::new(self.model);
        let start = Instant::now();
        if warm_up {
            sessions.warm_up(batch_size, work.cancel)?;
            self.summary.warm_up = start.elapsed();
        }
        // Where sessions are fewer, threads must be left to prepare images while those wait for the
        // graph.
        let workers = if sessions.limit() < threads {
            threads + sessions.limit()
        } else {
            threads
        };
        let start = Instant::now();
        let feed = Feed::new(inputs, batch_size, 2 * workers);
        let ended = std::thread::scope(|scope| {
            // Ends the workers when this closure ends, in whichever way.
            let _stop = feed.stop_on_drop();
            let (sender, receiver) = sync_channel(workers);
            for worker in 0..workers {
                let (sender, feed, sessions) = (sender.clone(), &feed, &sessions);
                let run = move || {
                    let _stop = feed.stop_on_panic();
                    let mut pixels = Vec::new();
                    while let Some((place, items)) = feed.take() {
                        let batch = work.on_session(items, sessions, &mut pixels);
                        if sender.send((place, batch)).is_err() {
                            return;
                        }
                    }
                };
                let thread = std::thread::Builder::new().name(format!("kiln-stream-{worker}"));
                thread
                    .spawn_scoped(scope, run)
                    .map_err(|reason| RunError::Thread { reason })?;
            }
            drop(sender);
            let (mut waiting, mut next) = (BTreeMap::new(), 0);
            for (place, batch) in &receiver {
                waiting.insert(place, batch);
                while let Some(batch) = waiting.remove(&next) {
                    let (items, batch) = batch?;
                    if let ControlFlow::Break(value) = self.deliver(items, &batch) {
                        return Ok(ControlFlow::Break(value));
                    }
                    next += 1;
                    feed.delivered();
                }
            }
            Ok(ControlFlow::Continue(()))
        });
        self.summary.elapsed = start.elapsed();
        self.summary.sessions = sessions.limit().min(self.runs);
        ended
    }

    fn deliver<T, E, B>(&mut self, items: Vec<(T, Result<(), E>)>, batch: &Batch) -> ControlFlow<B>
    where
        F: FnMut(T, Result<Classified<'_>, Unclassified<E>>) -> ControlFlow<B>,
    {
        self.summary.prepare += batch.prepare;
        self.summary.inference += batch.inference;
        self.runs += usize::from(batch.has_images());
        let mut rows = batch.rows(self.model.labels().len());
        for (item, prepared) in items {
            let result = match prepared {
                Ok(()) => rows
                    .next()
                    .expect("a row for each image that was prepared")
                    .map_err(Unclassified::NotFinite),
                Err(error) => Err(Unclassified::Prepare(error)),
            };
            let counter = if result.is_ok() {
                &mut self.summary.images
            } else {
                &mut self.summary.failed
            };
            *counter += 1;
            let result = result.map(|(scores, probabilities)| Classified {
                scores,
                probabilities,
                batch,
                model: self.model,
            });
            (self.each)(item, result)?;
        }
        ControlFlow::Continue(())
    }
}
