//! The sessions of an engine, shared by the threads of a stream.

use crate::engine::error::EngineError;
use crate::engine::interface::{Engine, Session};
use crate::error::RunError;
use crate::model::Model;
use crate::pool::{Pool, PoolGuard};

type BoxedSession<'a> = Box<dyn Session + 'a>;

/// Sessions that are opened when they are first needed.
pub struct Sessions<'a> {
    engine: &'a dyn Engine,
    pool: Pool<BoxedSession<'a>>,
}

impl<'a> Sessions<'a> {
    /// Returns those of an engine for so many threads.
    pub fn new(engine: &'a dyn Engine, threads: usize) -> Self {
        Self {
            engine,
            pool: Pool::up_to(engine.max_sessions().clamp(1, threads.max(1))),
        }
    }

    /// Returns the maximum number of sessions.
    pub const fn limit(&self) -> usize {
        self.pool.limit()
    }

    /// Acquires an idle session; waits for one if all there may be are busy.
    pub fn acquire(&self) -> Result<PoolGuard<'_, BoxedSession<'a>>, EngineError> {
        self.pool.acquire_or_create(|| self.engine.session())
    }

    /// Opens every session and runs `images` images of zeros on each.
    pub fn warm_up(&self, model: &Model, images: usize) -> Result<(), RunError> {
        let zeros = vec![0.0; images * model.preprocessor.len()];
        let run = |mut session: PoolGuard<'_, BoxedSession<'a>>| {
            model.run_on(&mut **session, &zeros, images)
        };
        // All are acquired before the first is released, so that none is warmed up twice.
        let acquired = (0..self.limit())
            .map(|_| self.acquire())
            .collect::<Result<Vec<_>, _>>()?;
        std::thread::scope(|scope| {
            let threads: Vec<_> = acquired
                .into_iter()
                .map(|session| scope.spawn(move || run(session).map(drop)))
                .collect();
            threads.into_iter().try_for_each(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })
    }
}
