//! The lanes of an engine, shared by the threads of a stream.

use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::engine::{Engine, EngineError, Lane};
use crate::error::RunError;
use crate::model::Model;

type BoxedLane<'a> = Box<dyn Lane + 'a>;

/// Lanes that are made when they are first needed.
pub struct Lanes<'a> {
    engine: &'a dyn Engine,
    limit: usize,
    state: Mutex<State<'a>>,
    returned: Condvar,
}

struct State<'a> {
    idle: Vec<BoxedLane<'a>>,
    made: usize,
}

impl<'a> Lanes<'a> {
    /// The lanes of an engine for so many threads.
    pub fn new(engine: &'a dyn Engine, threads: usize) -> Self {
        let state = Mutex::new(State { idle: Vec::new(), made: 0 });
        Self { engine, limit: engine.lanes().clamp(1, threads.max(1)), state, returned: Condvar::new() }
    }

    /// Most lanes at a time.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// An idle lane; waits for one if all there may be are busy.
    pub fn take(&self) -> Result<TakenLane<'a, '_>, EngineError> {
        let busy = |state: &mut State<'a>| state.idle.is_empty() && state.made == self.limit;
        let mut state = self.returned.wait_while(self.lock(), busy).unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = state.idle.pop() {
            return Ok(TakenLane { lanes: self, lane: Some(lane) });
        }
        state.made += 1;
        drop(state);
        match self.engine.lane() {
            Ok(lane) => Ok(TakenLane { lanes: self, lane: Some(lane) }),
            Err(error) => {
                self.lock().made -= 1;
                self.returned.notify_one();
                Err(error)
            }
        }
    }

    /// Makes every lane and runs `images` images of zeros on each.
    pub fn warm_up(&self, model: &Model, images: usize) -> Result<(), RunError> {
        let zeros = vec![0.0; images * model.preprocessor.len()];
        let run = |mut lane: TakenLane<'a, '_>| model.run_on(&mut **lane, &zeros, images);
        // All are taken before the first is given back, so that none is warmed up twice.
        let taken = (0..self.limit).map(|_| self.take()).collect::<Result<Vec<_>, _>>()?;
        std::thread::scope(|scope| {
            let threads: Vec<_> = taken.into_iter().map(|lane| scope.spawn(move || run(lane).map(drop))).collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }

    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lane that is given back when dropped.
pub struct TakenLane<'a, 'l> {
    lanes: &'l Lanes<'a>,
    /// Always there until dropped.
    lane: Option<BoxedLane<'a>>,
}

impl<'a> Deref for TakenLane<'a, '_> {
    type Target = BoxedLane<'a>;

    fn deref(&self) -> &BoxedLane<'a> {
        self.lane.as_ref().expect("there until dropped")
    }
}

impl<'a> DerefMut for TakenLane<'a, '_> {
    fn deref_mut(&mut self) -> &mut BoxedLane<'a> {
        self.lane.as_mut().expect("there until dropped")
    }
}

impl Drop for TakenLane<'_, '_> {
    fn drop(&mut self) {
        self.lanes.lock().idle.extend(self.lane.take());
        self.lanes.returned.notify_one();
    }
}
