//! Inputs handed out to threads batch by batch, never far ahead of what was delivered.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Inputs, and how far they have got.
pub struct Feed<I> {
    state: Mutex<State<I>>,
    /// Told when a batch was delivered and when the feed ends.
    room: Condvar,
    batch_size: usize,
    /// Most batches that are handed out and not delivered.
    window: usize,
}

struct State<I> {
    /// Taken away at their end.
    inputs: Option<I>,
    /// Batches handed out.
    taken: usize,
    /// Batches delivered.
    delivered: usize,
}

impl<I: Iterator> Feed<I> {
    pub fn new(inputs: I, batch_size: usize, window: usize) -> Self {
        let state = State { inputs: Some(inputs), taken: 0, delivered: 0 };
        Self { state: Mutex::new(state), room: Condvar::new(), batch_size, window }
    }

    /// The next batch and its place in the order, once there is room for it; nothing at the end.
    pub fn take(&self) -> Option<(usize, Vec<I::Item>)> {
        let full = |state: &mut State<I>| state.inputs.is_some() && state.taken - state.delivered >= self.window;
        let mut state = self.room.wait_while(self.lock(), full).unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let batch: Vec<I::Item> = state.inputs.as_mut()?.by_ref().take(self.batch_size).collect();
        if batch.len() < self.batch_size {
            state.inputs = None;
            self.room.notify_all();
        }
        if batch.is_empty() {
            return None;
        }
        state.taken += 1;
        Some((state.taken - 1, batch))
    }

    /// Makes room for another batch.
    pub fn delivered(&self) {
        self.lock().delivered += 1;
        self.room.notify_one();
    }

    /// Hands out nothing more.
    fn stop(&self) {
        self.lock().inputs = None;
        self.room.notify_all();
    }

    /// Stops the feed when dropped.
    pub fn stop_on_drop(&self) -> impl Drop + '_ {
        Stop { feed: self, always: true }
    }

    /// Stops the feed when dropped by a panic: the batch that it interrupted is never delivered, and others would wait for it.
    pub fn stop_on_panic(&self) -> impl Drop + '_ {
        Stop { feed: self, always: false }
    }

    fn lock(&self) -> MutexGuard<'_, State<I>> {
        // An iterator that panicked has ended.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Stop<'a, I: Iterator> {
    feed: &'a Feed<I>,
    always: bool,
}

impl<I: Iterator> Drop for Stop<'_, I> {
    fn drop(&mut self) {
        if self.always || std::thread::panicking() {
            self.feed.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_in_order_and_the_last_is_short() {
        let feed = Feed::new(0..5, 2, 9);
        let taken: Vec<_> = std::iter::from_fn(|| feed.take()).collect();
        assert_eq!(taken, [(0, vec![0, 1]), (1, vec![2, 3]), (2, vec![4])]);
        assert!(feed.take().is_none());
    }

    #[test]
    fn no_more_is_handed_out_than_the_window_has_room_for() {
        let feed = Feed::new(0.., 1, 2);
        assert_eq!((feed.take().unwrap().0, feed.take().unwrap().0), (0, 1));
        std::thread::scope(|scope| {
            let third = scope.spawn(|| feed.take());
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert!(!third.is_finished());
            feed.delivered();
            assert_eq!(third.join().unwrap(), Some((2, vec![2])));
            let fourth = scope.spawn(|| feed.take());
            drop(feed.stop_on_drop());
            assert_eq!(fourth.join().unwrap(), None);
        });
    }
}
