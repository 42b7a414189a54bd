//! What is tried before a model answers: every session has run, and how requests are best answered is measured.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_inference::{Model, RunError, Sessions};

use super::Settings;
use super::queue::Queue;
use super::worker::Work;
use crate::metrics::ModelMetrics;

/// Images in a batch by default: larger ones make engines little faster, and everyone in them waits longer.
const DEFAULT_BATCH: usize = 16;
/// A run of one image that is so short that what a batch saves beside the graph counts: some 50 microseconds of waking
/// and answering for each.
const QUICK: Duration = Duration::from_millis(2);
/// A run of one image that takes little longer than waking a worker and being woken by it. A thread that reads requests
/// reads no others meanwhile.
const INSTANT: Duration = Duration::from_micros(300);
/// Images of a batch that is compared with single images.
const TRIAL_BATCH: usize = 4;
/// Runs of each kind that are compared, after a first one.
const TRIALS: usize = 3;
/// The share of the time that is worth another way of running: less is what measurements vary by.
const WORTHWHILE: f64 = 0.9;

impl Work {
    /// Warms the sessions of a model up, and measures how it is best run.
    ///
    /// # Errors
    ///
    /// Returns the engine's failure as text.
    pub fn prepare(
        model: Arc<Model>,
        metrics: ModelMetrics,
        settings: &Settings,
    ) -> Result<Self, String> {
        let threads = model.runtime().threads.max(1);
        let sessions = Sessions::new(model);
        let trial = Trial::of(&sessions, settings.max_batch).map_err(|error| error.to_string())?;
        let has_session_for_each = sessions.limit() >= threads;
        Ok(Self {
            queue: Queue::new(settings.queue),
            metrics,
            max_batch: trial.max_batch,
            max_delay: settings.max_delay,
            max_pixels: settings.max_pixels,
            // Where sessions are fewer, others prepare images meanwhile.
            workers: if has_session_for_each {
                threads
            } else {
                threads + sessions.limit()
            },
            shares_single: trial.shares_single,
            // Not where a batch is waited for, or sessions are, or all threads together are faster.
            is_quick: trial.alone < INSTANT
                && has_session_for_each
                && !trial.shares_single
                && settings.max_delay.is_zero(),
            sessions,
        })
    }
}

/// What was measured.
struct Trial {
    /// Time of a run of one image in a session.
    alone: Duration,
    /// Maximum number of images in a batch.
    max_batch: usize,
    /// Whether one image is computed faster by all threads together than in a session.
    shares_single: bool,
}

impl Trial {
    /// Opens all sessions; the maximum number of images in a batch is the one that is `wanted`, if any.
    fn of(sessions: &Sessions<Arc<Model>>, wanted: Option<usize>) -> Result<Self, RunError> {
        let model = sessions.model();
        let spec = model.spec();
        let size = model.preprocessor().len();
        let known = match spec.batch {
            Some(batch) => Some(batch),
            // The scores of an image must not depend on who else sends some.
            None if spec.is_batch_dependent => Some(1),
            None => wanted.map(|wanted| wanted.max(1)),
        };
        let limit = DEFAULT_BATCH.min(model.stream_batch_size());
        let some = TRIAL_BATCH.min(limit);
        let mut values = vec![0.0; some * size];
        let image = &mut values[..size];
        let alone = least_time(|| sessions.classify(image, 1))?;
        let max_batch = match known {
            Some(batch) => batch,
            None if alone < QUICK => limit,
            None => {
                let together = least_time(|| sessions.classify(&mut values, some))? / some as u32;
                // Of large networks, an image takes as long in a batch, and everyone in it would only wait longer.
                if together < alone.mul_f64(WORTHWHILE) {
                    limit
                } else {
                    1
                }
            }
        };
        sessions.warm_up(max_batch, None)?;
        let image = &mut values[..size];
        let shares_single = model.runtime().threads > 1
            && least_time(|| model.classify_prepared(image, 1))? < alone.mul_f64(WORTHWHILE);
        Ok(Self {
            alone,
            max_batch,
            shares_single,
        })
    }
}

/// The least time of some runs.
fn least_time<T>(mut run: impl FnMut() -> Result<T, RunError>) -> Result<Duration, RunError> {
    let mut least = Duration::MAX;
    // One more, since engines plan and allocate at the first.
    for _ in 0..=TRIALS {
        let start = Instant::now();
        run()?;
        least = least.min(start.elapsed());
    }
    Ok(least)
}
