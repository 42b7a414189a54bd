//! The threads that prepare batches, and the iterator that takes them from there.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, JoinHandle, available_parallelism};

use super::{Batch, Order};
use crate::{DataError, Samples};

/// Number of batches that a thread keeps ready: enough to even out a slow one, few enough to take
/// little memory.
const READY: usize = 4;

/// Most threads: beyond these, memory for batches grows and a training step no longer does.
const MAX_THREADS: usize = 8;

/// The batches of a [`Loader`](crate::Loader), in order.
///
/// Threads prepare a few batches ahead: one where samples are copied, one per core where images are
/// decoded or augmented. After an error there are no more batches. Dropping the iterator ends the
/// threads.
#[derive(Debug)]
pub struct Batches {
    /// Thread `i` of `n` prepares batches `i`, `i + n`, `i + 2n`, …
    workers: Vec<Worker>,
    /// Whose batch comes next.
    next: usize,
    /// Why there is no thread.
    refused: Option<DataError>,
}

#[derive(Debug)]
struct Worker {
    /// Taken away to end the thread.
    receiver: Option<Receiver<Result<Batch, DataError>>>,
    thread: Option<JoinHandle<()>>,
}

impl Batches {
    /// Starts the threads that prepare batches of the samples with these indices.
    pub(super) fn start(
        samples: &Samples,
        batch_size: usize,
        indices: Vec<u32>,
        order: Order,
    ) -> Self {
        let threads = if samples.is_slow() {
            available_parallelism()
                .map_or(1, NonZero::get)
                .min(MAX_THREADS)
        } else {
            1
        };
        let threads = threads.min(indices.len().div_ceil(batch_size)).max(1);
        let indices: Arc<[u32]> = indices.into();
        let mut batches = Self {
            workers: Vec::with_capacity(threads),
            next: 0,
            refused: None,
        };
        for first in 0..threads {
            let (samples, indices) = (samples.clone(), Arc::clone(&indices));
            let (sender, receiver) = sync_channel(READY.div_ceil(threads));
            let work = move || {
                for indices in indices.chunks(batch_size).skip(first).step_by(threads) {
                    let batch = Batch::prepare(&samples, indices, order);
                    let failed = batch.is_err();
                    // Nobody receives any more: the iterator is gone.
                    if sender.send(batch).is_err() || failed {
                        return;
                    }
                }
            };
            match Builder::new().name("kiln-loader".to_owned()).spawn(work) {
                Ok(thread) => batches.workers.push(Worker {
                    receiver: Some(receiver),
                    thread: Some(thread),
                }),
                Err(reason) => batches.refused = Some(DataError::Thread { reason }),
            }
        }
        batches
    }

    /// Ends the threads.
    fn end(&mut self) {
        // In this order: without a receiver, a thread that waits to send gives up.
        for worker in &mut self.workers {
            worker.receiver = None;
        }
        for worker in self.workers.drain(..) {
            if let Some(thread) = worker.thread {
                // A panic has been reported by its own message.
                let _ = thread.join();
            }
        }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.refused.take() {
            self.end();
            return Some(Err(error));
        }
        let at = self.next;
        let worker = self.workers.get_mut(at)?;
        if let Ok(batch) = worker.receiver.as_ref()?.recv() {
            self.next = (at + 1) % self.workers.len();
            if batch.is_err() {
                self.end();
            }
            return Some(batch);
        }
        // The thread is done, and with it all are. A panic of it must not look like the end of the
        // data.
        let thread = worker.thread.take();
        if let Some(Err(panic)) = thread.map(JoinHandle::join) {
            resume_unwind(panic);
        }
        self.end();
        None
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use kiln_model::{Channels, Preprocessing};
    use kiln_preprocess::Preprocessor;

    use super::*;
    use crate::{Dataset, View};

    /// Batches of a data set of one pixel, resized to squares of this side.
    fn start(side: u32, batch_size: usize, indices: Vec<u32>) -> Batches {
        let dataset =
            Dataset::new("one", vec![0], [1, 1, 1], vec![0], vec!["a".to_owned()]).unwrap();
        let preprocessor =
            Preprocessor::new(Preprocessing::raw(side, side, Channels::Rgb)).unwrap();
        let samples = Samples::images(View::all(Arc::new(dataset)), Arc::new(preprocessor));
        Batches::start(&samples, batch_size, indices, Order::Sequential)
    }

    #[test]
    fn errors_reach_the_consumer_and_end_the_batches() {
        // A batch of 240 TB.
        let mut batches = start(8192, 300_000, vec![0; 600_000]);
        assert!(matches!(
            batches.next(),
            Some(Err(DataError::Memory {
                images: 300_000,
                ..
            }))
        ));
        assert!(batches.next().is_none());
    }

    #[test]
    #[should_panic(expected = "out of range for slice")]
    fn panics_reach_the_consumer() {
        let _ = start(1, 1, vec![7]).next();
    }
}
