//! An object pool: at most a fixed number of values, each used by one caller at a time.

use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Values of which each caller acquires an idle one, or waits for it.
pub struct Pool<T> {
    state: Mutex<State<T>>,
    /// Maximum number of values.
    limit: usize,
    returned: Condvar,
}

struct State<T> {
    idle: Vec<T>,
    created: usize,
}

impl<T> Pool<T> {
    /// Returns a pool of at most `limit` values, at least one, created when they are first needed.
    pub fn up_to(limit: usize) -> Self {
        Self {
            state: Mutex::new(State {
                idle: Vec::new(),
                created: 0,
            }),
            limit: limit.max(1),
            returned: Condvar::new(),
        }
    }

    /// Returns the maximum number of values.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Acquires an idle value: the one released last, whose memory is warmest; else a new one; else
    /// this waits. Dropping the guard releases it, after a panic too.
    pub fn acquire_or_create<E>(
        &self,
        create: impl FnOnce() -> Result<T, E>,
    ) -> Result<PoolGuard<'_, T>, E> {
        let busy = |state: &mut State<T>| state.idle.is_empty() && state.created == self.limit;
        let mut state = self
            .returned
            .wait_while(self.lock(), busy)
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = state.idle.pop() {
            return Ok(PoolGuard {
                value: Some(value),
                pool: self,
            });
        }
        state.created += 1;
        drop(state);
        // Makes room again if `create` fails or panics.
        let mut guard = PoolGuard {
            value: None,
            pool: self,
        };
        guard.value = Some(create()?);
        Ok(guard)
    }

    /// Acquires an idle value, if there is one.
    pub fn try_acquire(&self) -> Option<PoolGuard<'_, T>> {
        let value = self.lock().idle.pop();
        value.map(|value| PoolGuard {
            value: Some(value),
            pool: self,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pool whose values are all created beforehand.
#[allow(
    dead_code,
    reason = "whether it is used depends on the engines of the build"
)]
pub struct FullPool<T>(Pool<T>);

#[allow(
    dead_code,
    reason = "whether it is used depends on the engines of the build"
)]
impl<T> FullPool<T> {
    /// Returns a pool of `values`, at least one.
    pub fn new(values: Vec<T>) -> Self {
        let count = values.len();
        Self(Pool {
            state: Mutex::new(State {
                idle: values,
                created: count,
            }),
            limit: count,
            returned: Condvar::new(),
        })
    }

    /// Acquires an idle value, the one released last, or waits for it.
    pub fn acquire(&self) -> PoolGuard<'_, T> {
        let mut state = self
            .0
            .returned
            .wait_while(self.0.lock(), |state| state.idle.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        PoolGuard {
            value: state.idle.pop(),
            pool: &self.0,
        }
    }
}

/// A value in use, released when dropped.
pub struct PoolGuard<'a, T> {
    /// Empty only while it is created and dropped.
    value: Option<T>,
    pool: &'a Pool<T>,
}

impl<T> Deref for PoolGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("present until dropped")
    }
}

impl<T> DerefMut for PoolGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("present until dropped")
    }
}

impl<T> Drop for PoolGuard<'_, T> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        match self.value.take() {
            Some(value) => state.idle.push(value),
            None => state.created -= 1,
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
    fn no_two_callers_have_the_same_value_and_all_get_one() {
        let pool = FullPool::new(vec![0_u64; 3]);
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let mut count = pool.acquire();
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        *count += 1;
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 3);
        let counts: Vec<_> = (0..3).map(|_| pool.acquire()).collect();
        assert_eq!(counts.iter().map(|count| **count).sum::<u64>(), 8 * 500);
    }

    #[test]
    fn values_are_created_when_needed_and_failures_make_room() {
        let pool = Pool::up_to(2);
        let failed: Result<PoolGuard<'_, u8>, _> = pool.acquire_or_create(|| Err("no memory"));
        assert_eq!(failed.err(), Some("no memory"));
        let (a, b) = (
            pool.acquire_or_create(|| Ok::<_, ()>(1)).unwrap(),
            pool.acquire_or_create(|| Ok::<_, ()>(2)).unwrap(),
        );
        assert_eq!((*a, *b, pool.limit()), (1, 2, 2));
        drop(b);
        assert_eq!(
            pool.acquire_or_create(|| Err(())).map(|guard| *guard),
            Ok(2)
        );
    }

    #[test]
    fn a_caller_that_panics_releases_its_value() {
        let pool = FullPool::new(vec![()]);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _guard = pool.acquire();
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(panicked.is_err());
        pool.acquire();
    }
}
