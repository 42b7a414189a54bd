//! A bounded queue that workers take batches from, and that jobs leave when nobody waits for them any more.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Jobs that wait for a worker.
#[derive(Debug)]
pub struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    /// Maximum number of jobs that wait.
    capacity: usize,
}

#[derive(Debug)]
struct State<T> {
    jobs: VecDeque<Waiting<T>>,
    /// Number of the next job.
    next: u64,
    /// Workers that wait for a job.
    idle: usize,
    /// Jobs that are done without having been in the queue, each in the place of a worker that waits.
    passing: usize,
    closed: bool,
}

#[derive(Debug)]
struct Waiting<T> {
    number: u64,
    since: Instant,
    job: T,
}

/// Why jobs are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There is no room for all of them; none was taken.
    Full,
    /// The queue was closed.
    Closed,
}

/// What a worker takes.
#[derive(Debug)]
pub struct Batch<T> {
    /// The jobs, with the time that each has waited; at least one.
    pub jobs: Vec<(T, Duration)>,
    /// Whether no other job waits, no other worker works, and no job [passes](Queue::pass).
    pub is_alone: bool,
}

impl<T> Queue<T> {
    /// Returns an empty queue for at most `capacity` jobs, at least one.
    pub fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                next: 0,
                idle: 0,
                passing: 0,
                closed: false,
            }),
            changed: Condvar::new(),
            capacity: capacity.max(1),
        }
    }

    /// Adds jobs, all or none, and returns their numbers, by which they can be [removed](Self::remove).
    pub fn push(&self, jobs: Vec<T>) -> Result<Range<u64>, Refused> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.jobs.len() + jobs.len() > self.capacity {
            return Err(Refused::Full);
        }
        let first = state.next;
        let since = Instant::now();
        for job in jobs {
            let number = state.next;
            state.next += 1;
            state.jobs.push_back(Waiting { number, since, job });
        }
        let numbers = first..state.next;
        drop(state);
        for _ in numbers.clone() {
            self.changed.notify_one();
        }
        Ok(numbers)
    }

    /// Returns a place for a job that the caller does itself, at once: there is one where no job waits and a worker does.
    /// It counts as one of the idle workers' until it is given back; what comes meanwhile is taken all the same. A queue that
    /// is closed has none.
    pub fn pass(&self) -> Option<Passing<'_, T>> {
        let mut state = self.lock();
        let has_place = !state.closed && state.jobs.is_empty() && state.passing < state.idle;
        has_place.then(|| {
            state.passing += 1;
            Passing(self)
        })
    }

    /// Removes those of these jobs that no worker has taken.
    pub fn remove(&self, numbers: &Range<u64>) {
        let mut state = self.lock();
        // Jobs are in the order of their numbers.
        let start = state
            .jobs
            .partition_point(|waiting| waiting.number < numbers.start);
        let end = state
            .jobs
            .partition_point(|waiting| waiting.number < numbers.end);
        state.jobs.drain(start..end);
    }

    /// Takes the oldest jobs, at most `limit` and no more than the share of a worker among those that are
    /// idle; waits for the first. Where there are fewer than `limit`, waits for more until the oldest has waited
    /// for `max_delay`. Returns `None` once the queue is closed and empty.
    pub fn take(&self, limit: usize, max_delay: Duration, workers: usize) -> Option<Batch<T>> {
        let mut state = self.lock();
        state.idle += 1;
        loop {
            let Some(oldest) = state.jobs.front() else {
                if state.closed {
                    state.idle -= 1;
                    return None;
                }
                let woken = self.changed.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = max_delay.saturating_sub(oldest.since.elapsed());
            if state.jobs.len() >= limit || left.is_zero() || state.closed {
                break;
            }
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        let sharing = state.idle.saturating_sub(state.passing).max(1);
        let share = state.jobs.len().div_ceil(sharing);
        // A worker that waits for a fuller batch has asked for one.
        let count = if max_delay.is_zero() {
            share.min(limit)
        } else {
            state.jobs.len().min(limit)
        };
        let now = Instant::now();
        let jobs = state
            .jobs
            .drain(..count.max(1))
            .map(|waiting| (waiting.job, now - waiting.since))
            .collect();
        let is_alone = state.jobs.is_empty() && state.idle == workers && state.passing == 0;
        state.idle -= 1;
        // One notification may have woken this worker in the place of another.
        if !state.jobs.is_empty() {
            self.changed.notify_one();
        }
        Some(Batch { jobs, is_alone })
    }

    /// Refuses further jobs; those that wait are still taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Returns the maximum number of jobs that wait.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns the number of jobs that wait.
    pub fn len(&self) -> usize {
        self.lock().jobs.len()
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a job that is done without the queue; dropping it gives it back.
#[derive(Debug)]
pub struct Passing<'a, T>(&'a Queue<T>);

impl<T> Drop for Passing<'_, T> {
    fn drop(&mut self) {
        self.0.lock().passing -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn numbers(batch: &Batch<u32>) -> Vec<u32> {
        batch.jobs.iter().map(|(job, _)| *job).collect()
    }

    #[test]
    fn a_worker_takes_what_there_is_up_to_its_limit() {
        let queue = Queue::new(10);
        queue.push(vec![1, 2, 3, 4, 5]).unwrap();
        let batch = queue.take(3, NOW, 1).unwrap();
        assert_eq!((numbers(&batch), batch.is_alone), (vec![1, 2, 3], false));
        let batch = queue.take(3, NOW, 1).unwrap();
        assert_eq!((numbers(&batch), batch.is_alone), (vec![4, 5], true));
        queue.push(vec![6]).unwrap();
        assert!(!queue.take(3, NOW, 2).unwrap().is_alone, "another works");
    }

    #[test]
    fn a_full_queue_takes_all_or_none() {
        let queue = Queue::new(3);
        queue.push(vec![1, 2]).unwrap();
        assert_eq!(queue.push(vec![3, 4]), Err(Refused::Full));
        assert_eq!(queue.len(), 2);
        queue.push(vec![3]).unwrap();
    }

    #[test]
    fn jobs_that_nobody_waits_for_make_room() {
        let queue = Queue::new(4);
        queue.push(vec![1]).unwrap();
        let left = queue.push(vec![2, 3]).unwrap();
        queue.push(vec![4]).unwrap();
        assert_eq!(queue.push(vec![5]), Err(Refused::Full));
        queue.remove(&left);
        queue.push(vec![5, 6]).unwrap();
        assert_eq!(numbers(&queue.take(9, NOW, 1).unwrap()), [1, 4, 5, 6]);
        queue.remove(&left);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_closed_queue_is_emptied_first() {
        let queue = Queue::new(4);
        queue.push(vec![1]).unwrap();
        queue.close();
        assert_eq!(queue.push(vec![2]), Err(Refused::Closed));
        assert_eq!(numbers(&queue.take(9, NOW, 1).unwrap()), [1]);
        assert!(queue.take(9, NOW, 1).is_none());
    }

    #[test]
    fn idle_workers_share() {
        let queue = Arc::new(Queue::new(10));
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let queue = Arc::clone(&queue);
                std::thread::spawn(move || queue.take(8, NOW, 2).unwrap().jobs.len())
            })
            .collect();
        while queue.lock().idle < 2 {
            std::thread::yield_now();
        }
        queue.push((0..6).collect()).unwrap();
        let taken: Vec<_> = workers.into_iter().map(|it| it.join().unwrap()).collect();
        assert_eq!(taken, [3, 3]);
    }

    #[test]
    fn a_job_passes_an_empty_queue_in_the_place_of_an_idle_worker() {
        let queue = Arc::new(Queue::new(10));
        assert!(queue.pass().is_none(), "there is no worker");
        let worker = {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || {
                let batch = queue.take(8, NOW, 1).unwrap();
                (numbers(&batch), batch.is_alone)
            })
        };
        while queue.lock().idle < 1 {
            std::thread::yield_now();
        }
        let passing = queue.pass().unwrap();
        assert!(queue.pass().is_none(), "the only worker's place is taken");
        drop(passing);
        let passing = queue.pass().unwrap();
        // Whatever comes meanwhile is not kept waiting.
        queue.push(vec![1]).unwrap();
        assert_eq!(worker.join().unwrap(), (vec![1], false));
        drop(passing);
        assert!(queue.pass().is_none(), "no worker waits");
        queue.close();
        assert!(queue.pass().is_none());
    }

    #[test]
    fn only_with_a_delay_is_a_batch_waited_for() {
        let delay = Duration::from_mins(1);
        let queue = Arc::new(Queue::new(10));
        queue.push(vec![1]).unwrap();
        let worker = {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || queue.take(2, delay, 1).unwrap().jobs.len())
        };
        while queue.lock().idle < 1 {
            std::thread::yield_now();
        }
        queue.push(vec![2]).unwrap();
        assert_eq!(worker.join().unwrap(), 2, "as soon as it is full");
        queue.push(vec![3]).unwrap();
        let start = Instant::now();
        let short = Duration::from_millis(30);
        assert_eq!(queue.take(2, short, 1).unwrap().jobs.len(), 1);
        assert!(start.elapsed() >= Duration::from_millis(20));
    }
}
