//! The lanes of an engine, shared by the threads of a stream.

use crate::engine::{Engine, EngineError, Lane};
use crate::error::RunError;
use crate::model::Model;
use crate::pool::{Pool, Taken};

type BoxedLane<'a> = Box<dyn Lane + 'a>;

/// Lanes that are made when they are first needed.
pub struct Lanes<'a> {
    engine: &'a dyn Engine,
    pool: Pool<BoxedLane<'a>>,
}

impl<'a> Lanes<'a> {
    /// The lanes of an engine for so many threads.
    pub fn new(engine: &'a dyn Engine, threads: usize) -> Self {
        Self {
            engine,
            pool: Pool::up_to(engine.lanes().clamp(1, threads.max(1))),
        }
    }

    /// Most lanes at a time.
    pub const fn limit(&self) -> usize {
        self.pool.limit()
    }

    /// An idle lane; waits for one if all there may be are busy.
    pub fn take(&self) -> Result<Taken<'_, BoxedLane<'a>>, EngineError> {
        self.pool.take_or_make(|| self.engine.lane())
    }

    /// Makes every lane and runs `images` images of zeros on each.
    pub fn warm_up(&self, model: &Model, images: usize) -> Result<(), RunError> {
        let zeros = vec![0.0; images * model.preprocessor.len()];
        let run = |mut lane: Taken<'_, BoxedLane<'a>>| model.run_on(&mut **lane, &zeros, images);
        // All are taken before the first is given back, so that none is warmed up twice.
        let taken = (0..self.limit())
            .map(|_| self.take())
            .collect::<Result<Vec<_>, _>>()?;
        std::thread::scope(|scope| {
            let threads: Vec<_> = taken
                .into_iter()
                .map(|lane| scope.spawn(move || run(lane).map(drop)))
                .collect();
            threads.into_iter().try_for_each(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })
    }
}
