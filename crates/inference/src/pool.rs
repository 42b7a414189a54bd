//! A fixed number of things that callers take in turns.

#[cfg(any(feature = "ort", test))]
use std::convert::Infallible;
use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Things of which each caller takes one that is free, or waits for it.
pub struct Pool<T> {
    state: Mutex<State<T>>,
    /// Most things there may be.
    limit: usize,
    returned: Condvar,
}

struct State<T> {
    free: Vec<T>,
    made: usize,
}

impl<T> Pool<T> {
    /// A pool of at most `limit` things, at least one, made when they are first needed.
    pub fn up_to(limit: usize) -> Self {
        Self {
            state: Mutex::new(State {
                free: Vec::new(),
                made: 0,
            }),
            limit: limit.max(1),
            returned: Condvar::new(),
        }
    }

    /// Most things there may be.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// One that is free: the one given back last, whose memory is warmest; else a new one; else
    /// this waits. Dropping it gives it back, after a panic too.
    pub fn take_or_make<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<Taken<'_, T>, E> {
        let busy = |state: &mut State<T>| state.free.is_empty() && state.made == self.limit;
        let mut state = self
            .returned
            .wait_while(self.lock(), busy)
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(thing) = state.free.pop() {
            return Ok(Taken {
                thing: Some(thing),
                pool: self,
            });
        }
        state.made += 1;
        drop(state);
        // Makes room again if `make` fails or panics.
        let mut taken = Taken {
            thing: None,
            pool: self,
        };
        taken.thing = Some(make()?);
        Ok(taken)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(any(feature = "ort", test))]
impl<T> Pool<T> {
    /// A pool of `things`, at least one.
    pub fn new(things: Vec<T>) -> Self {
        let (limit, made) = (things.len(), things.len());
        Self {
            state: Mutex::new(State { free: things, made }),
            limit,
            returned: Condvar::new(),
        }
    }

    /// As [`take_or_make`](Self::take_or_make) where all are made.
    pub fn take(&self) -> Taken<'_, T> {
        let all_made = || -> Result<T, Infallible> {
            unreachable!("a pool of things that are there makes none")
        };
        match self.take_or_make(all_made) {
            Ok(taken) => taken,
        }
    }
}

/// A thing in use.
pub struct Taken<'a, T> {
    /// Empty only while it is made and dropped.
    thing: Option<T>,
    pool: &'a Pool<T>,
}

impl<T> Deref for Taken<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.thing.as_ref().expect("taken until dropped")
    }
}

impl<T> DerefMut for Taken<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.thing.as_mut().expect("taken until dropped")
    }
}

impl<T> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        match self.thing.take() {
            Some(thing) => state.free.push(thing),
            None => state.made -= 1,
        }
        drop(state);
        self.pool.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn no_two_callers_have_the_same_thing_and_all_get_one() {
        let pool = Pool::new(vec![0_u64; 3]);
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let mut count = pool.take();
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        *count += 1;
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 3);
        let counts: Vec<_> = (0..3).map(|_| pool.take()).collect();
        assert_eq!(counts.iter().map(|count| **count).sum::<u64>(), 8 * 500);
    }

    #[test]
    fn things_are_made_when_needed_and_failures_make_room() {
        let pool = Pool::up_to(2);
        let failed: Result<Taken<'_, u8>, _> = pool.take_or_make(|| Err("no memory"));
        assert_eq!(failed.err(), Some("no memory"));
        let (a, b) = (
            pool.take_or_make(|| Ok::<_, ()>(1)).unwrap(),
            pool.take_or_make(|| Ok::<_, ()>(2)).unwrap(),
        );
        assert_eq!((*a, *b, pool.limit()), (1, 2, 2));
        drop(b);
        assert_eq!(pool.take_or_make(|| Err(())).map(|taken| *taken), Ok(2));
    }

    #[test]
    fn a_caller_that_panics_gives_back_what_it_had() {
        let pool = Pool::new(vec![()]);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _taken = pool.take();
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(panicked.is_err());
        pool.take();
    }
}
