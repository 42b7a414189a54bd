//! A model's own threads.

use std::thread::JoinHandle;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::LoadErrorKind;

/// A pool whose threads have ended once it is dropped: rayon's own are told to, and left to it. A program that unloads
/// the library, or looks for leaks at its end, would otherwise find them running.
pub struct Threads {
    /// There until it is dropped.
    pool: Option<ThreadPool>,
    handles: Vec<JoinHandle<()>>,
    /// The process that has the threads. One that was forked from it has a copy of this, and none of them.
    process: u32,
}

impl Threads {
    /// Starts so many threads.
    pub fn start(threads: usize) -> Result<Self, LoadErrorKind> {
        let mut handles = Vec::with_capacity(threads);
        let spawn = |worker: rayon::ThreadBuilder| {
            let name = format!("kiln-{}", worker.index());
            let thread = std::thread::Builder::new().name(name);
            handles.push(thread.spawn(|| worker.run())?);
            Ok(())
        };
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .spawn_handler(spawn)
            .build()
            .map_err(|reason| LoadErrorKind::Threads {
                threads,
                reason: reason.to_string(),
            })?;
        Ok(Self {
            pool: Some(pool),
            handles,
            process: std::process::id(),
        })
    }

    /// Returns the pool.
    pub const fn pool(&self) -> &ThreadPool {
        self.pool.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let Some(pool) = self.pool.take() else { return };
        // None of the threads ends before the job in which the pool is dropped.
        let is_inside = pool.current_thread_index().is_some();
        drop(pool);
        if is_inside || self.process != std::process::id() {
            return;
        }
        for handle in self.handles.drain(..) {
            // rayon catches panics of jobs, and aborts on its own.
            let _ = handle.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, mpsc};

    use super::*;

    /// Counts the threads that have ended, by their thread-local values.
    struct Ended(Arc<AtomicUsize>);

    impl Drop for Ended {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    thread_local! {
        static MARK: std::cell::RefCell<Option<Ended>> = const { std::cell::RefCell::new(None) };
    }

    #[test]
    fn threads_have_ended_when_the_pool_is_dropped() {
        let ended = Arc::new(AtomicUsize::new(0));
        let threads = Threads::start(3).unwrap();
        let marks = threads.pool().broadcast(|_| {
            MARK.with(|mark| *mark.borrow_mut() = Some(Ended(Arc::clone(&ended))));
        });
        assert_eq!((marks.len(), ended.load(Ordering::SeqCst)), (3, 0));
        drop(threads);
        assert_eq!(ended.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn a_thread_of_the_pool_may_drop_it() {
        let threads = Arc::new(Threads::start(2).unwrap());
        let (sender, receiver) = mpsc::channel();
        let inside = Arc::clone(&threads);
        let (go, wait) = mpsc::channel();
        threads.pool().spawn(move || {
            wait.recv().unwrap();
            drop(inside);
            sender.send(()).unwrap();
        });
        drop(threads);
        go.send(()).unwrap();
        receiver.recv().unwrap();
    }
}
