//! A fixed number of things that callers take in turns.

use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, PoisonError};

/// Things of which each caller takes one that is free, or waits for it.
pub struct Pool<T> {
    free: Mutex<Vec<T>>,
    returned: Condvar,
}

impl<T> Pool<T> {
    /// A pool of `things`, at least one.
    pub fn new(things: Vec<T>) -> Self {
        Self { free: Mutex::new(things), returned: Condvar::new() }
    }

    /// One that is free: the one given back last, whose memory is warmest. Dropping it gives it back, after a panic too.
    pub fn take(&self) -> Taken<'_, T> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.returned.wait_while(free, |free| free.is_empty()).unwrap_or_else(PoisonError::into_inner);
        Taken { thing: free.pop(), pool: self }
    }
}

/// A thing in use.
pub struct Taken<'a, T> {
    /// Empty only while it is dropped.
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
        let thing = self.thing.take();
        self.pool.free.lock().unwrap_or_else(PoisonError::into_inner).extend(thing);
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
