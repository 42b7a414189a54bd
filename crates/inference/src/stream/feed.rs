//! Inputs handed out to threads batch by batch, never far ahead of what was delivered.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Inputs, and how far they have got.
///
/// The two have a lock each: whoever waits for a slow source holds that of the inputs, and results
/// must go on being delivered meanwhile.
pub struct Feed<I> {
    /// Taken away at their end. Whoever holds this is the next to take a batch.
    inputs: Mutex<Option<I>>,
    progress: Mutex<Progress>,
    /// Told when a batch was delivered and when the feed is stopped.
    room: Condvar,
    batch_size: usize,
    /// Most batches that are handed out and not delivered.
    window: usize,
}

#[derive(Default)]
struct Progress {
    /// Batches handed out.
    taken: usize,
    /// Batches delivered.
    delivered: usize,
    /// Nothing more is handed out.
    stopped: bool,
}

impl<I: Iterator> Feed<I> {
    pub fn new(inputs: I, batch_size: usize, window: usize) -> Self {
        let (inputs, progress) = (Mutex::new(Some(inputs)), Mutex::default());
        Self {
            inputs,
            progress,
            room: Condvar::new(),
            batch_size,
            window,
        }
    }

    /// The next batch and its place in the order, once there is room for it; nothing at the end.
    pub fn take(&self) -> Option<(usize, Vec<I::Item>)> {
        let mut inputs = self.inputs.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |progress: &mut Progress| {
            !progress.stopped
                && inputs.is_some()
                && progress.taken - progress.delivered >= self.window
        };
        if self
            .room
            .wait_while(self.progress(), full)
            .unwrap_or_else(PoisonError::into_inner)
            .stopped
        {
            return None;
        }
        let batch: Vec<I::Item> = inputs.as_mut()?.by_ref().take(self.batch_size).collect();
        if batch.len() < self.batch_size {
            *inputs = None;
        }
        let mut progress = self.progress();
        if batch.is_empty() || progress.stopped {
            return None;
        }
        progress.taken += 1;
        Some((progress.taken - 1, batch))
    }

    /// Makes room for another batch.
    pub fn delivered(&self) {
        self.progress().delivered += 1;
        self.room.notify_one();
    }

    /// Hands out nothing more. Does not wait for the source.
    fn stop(&self) {
        self.progress().stopped = true;
        self.room.notify_all();
    }

    /// Stops the feed when dropped.
    pub fn stop_on_drop(&self) -> impl Drop + '_ {
        Stop {
            feed: self,
            always: true,
        }
    }

    /// Stops the feed when dropped by a panic: the batch that it interrupted is never delivered,
    /// and others would wait for it.
    pub fn stop_on_panic(&self) -> impl Drop + '_ {
        Stop {
            feed: self,
            always: false,
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn neither_delivery_nor_a_stop_waits_for_a_slow_source() {
        let (wake, asleep) = std::sync::mpsc::channel::<()>();
        let (begun, begins) = std::sync::mpsc::channel();
        let slow = std::iter::from_fn(move || {
            begun.send(()).unwrap();
            asleep.recv().ok()
        });
        let feed = Feed::new(slow, 1, 9);
        std::thread::scope(|scope| {
            let taking = scope.spawn(|| feed.take());
            begins.recv().unwrap();
            let (done, is_done) = std::sync::mpsc::channel();
            let feed = &feed;
            scope.spawn(move || {
                feed.delivered();
                drop(feed.stop_on_drop());
                done.send(()).unwrap();
            });
            let done = is_done.recv_timeout(std::time::Duration::from_secs(5));
            wake.send(()).unwrap();
            assert_eq!((done, taking.join().unwrap()), (Ok(()), None));
        });
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
