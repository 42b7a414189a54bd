//! The sessions of a model's engine, for threads that the caller has: each batch is computed in one of them.

use std::ops::Deref;
use std::sync::Arc;

use kiln_util::CancelToken;

use crate::classify::{Prediction, Timings};
use crate::engine::error::EngineError;
use crate::engine::interface::Session;
use crate::error::{NotFinite, RunError};
use crate::model::Model;
use crate::pool::{Pool, PoolGuard};
use crate::run::AnyScores;

/// What came of each image of a batch.
pub type BatchResults = Vec<Result<Prediction, NotFinite>>;

/// Sessions that are opened when they are first needed, each used by one thread at a time.
///
/// A server's threads take batches of their own size at their own time, where a
/// [`stream`](Model::stream) reads its inputs itself.
///
/// `M` leads to the model: a reference, or an `Arc` for threads that outlive whoever loaded it.
pub struct Sessions<M> {
    model: M,
    pool: Pool<Box<dyn Session>>,
}

impl Model {
    /// Classifies prepared images, `[images, channels, height, width]` as
    /// [`preprocessor`](Self::preprocessor) gives them, on all of the model's threads. The images may be left
    /// mirrored.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), except that scores which are not finite are an error of their image alone.
    pub fn classify_prepared(
        &self,
        values: &mut [f32],
        images: usize,
    ) -> Result<BatchResults, RunError> {
        let scores = self.classified(values, |values| self.run_any(values, images))?;
        Ok(self.results(scores, images))
    }

    fn results(&self, AnyScores { output, scores }: AnyScores, images: usize) -> BatchResults {
        let timings = Timings {
            inference: scores.inference / u32::try_from(images.max(1)).unwrap_or(u32::MAX),
            ..Timings::default()
        };
        let probabilities = scores.probabilities();
        let rows = scores
            .rows()
            .zip(probabilities.chunks_exact(scores.classes.max(1)));
        let result = |(scores, probabilities): (&[f32], &[f32])| match scores
            .iter()
            .find(|score| !score.is_finite())
        {
            Some(value) => Err(NotFinite {
                output: output.clone(),
                value: value.to_string(),
            }),
            None => Ok(Prediction::new(
                Arc::clone(&self.classes),
                scores.to_vec(),
                probabilities.to_vec(),
                timings,
            )),
        };
        rows.map(result).collect()
    }
}

impl<M: Deref<Target = Model>> Sessions<M> {
    /// Returns the sessions of a model's engine: as many as it gains from, at most one for each of the model's
    /// threads. None is opened yet.
    pub fn new(model: M) -> Self {
        let threads = model.runtime().threads.max(1);
        let limit = model.engine.max_sessions().clamp(1, threads);
        Self {
            model,
            pool: Pool::up_to(limit),
        }
    }

    /// Returns the model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Returns the maximum number of sessions.
    pub const fn limit(&self) -> usize {
        self.pool.limit()
    }

    /// Classifies prepared images on this thread and an idle session, for which this waits. `values` is as in
    /// [`Model::classify_prepared`].
    ///
    /// # Errors
    ///
    /// As [`Model::classify_prepared`].
    pub fn classify(&self, values: &mut [f32], images: usize) -> Result<BatchResults, RunError> {
        self.classify_in(&mut **self.acquire()?, values, images)
    }

    /// The same where a session that was opened before is idle; `None` where this would have to wait for one.
    ///
    /// # Errors
    ///
    /// As [`Model::classify_prepared`].
    pub fn try_classify(
        &self,
        values: &mut [f32],
        images: usize,
    ) -> Option<Result<BatchResults, RunError>> {
        let mut session = self.pool.try_acquire()?;
        Some(self.classify_in(&mut **session, values, images))
    }

    fn classify_in(
        &self,
        session: &mut dyn Session,
        values: &mut [f32],
        images: usize,
    ) -> Result<BatchResults, RunError> {
        let run = |values: &[f32]| self.model.run_on(session, values, images, None);
        let scores = self.model.classified(values, run)?;
        Ok(self.model.results(scores, images))
    }

    /// Acquires an idle session; waits for one if all there may be are busy.
    pub(crate) fn acquire(&self) -> Result<PoolGuard<'_, Box<dyn Session>>, EngineError> {
        self.pool
            .acquire_or_create(|| Arc::clone(&self.model.engine).session())
    }

    /// Opens every session and runs zeros on each, once for each size of runs that `images` images are cut into. What
    /// comes of them says nothing about the model: of an image without contrast it may well be NaN.
    ///
    /// # Errors
    ///
    /// Returns why a session cannot be opened, or the engine's failure.
    pub fn warm_up(&self, images: usize, cancel: Option<&CancelToken>) -> Result<(), RunError> {
        let model = self.model();
        let size = model.preprocessor.len();
        let run = |mut session: PoolGuard<'_, Box<dyn Session>>| {
            let mut sizes: Vec<usize> = session.chunks(images).iter().map(|it| it.images).collect();
            sizes.sort_unstable();
            sizes.dedup();
            let zeros = vec![0.0; sizes.last().copied().unwrap_or(0) * size];
            sizes.into_iter().try_for_each(|images| {
                let zeros = &zeros[..images * size];
                model
                    .run_on(&mut **session, zeros, images, cancel)
                    .map(drop)
            })
        };
        // All are acquired before the first is released, so that none is warmed up twice.
        let acquired = (0..self.limit())
            .map(|_| self.acquire())
            .collect::<Result<Vec<_>, _>>()?;
        std::thread::scope(|scope| {
            let threads: Vec<_> = acquired
                .into_iter()
                .map(|session| scope.spawn(move || run(session)))
                .collect();
            threads.into_iter().try_for_each(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })
    }
}

impl<M: Deref<Target = Model>> std::fmt::Debug for Sessions<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions")
            .field("limit", &self.limit())
            .finish_non_exhaustive()
    }
}
