//! The thread that prepares batches, and the iterator that takes them from it.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, JoinHandle};

use super::Batch;
use crate::{DataError, Samples};

/// Number of batches kept ready: enough to even out a slow one, few enough to take little memory.
const READY: usize = 4;

/// The batches of a [`Loader`](crate::Loader), in order.
///
/// A thread prepares a few batches ahead. After an error there are no more batches. Dropping the iterator ends the
/// thread.
#[derive(Debug)]
pub struct Batches {
    /// Taken away to end the thread.
    receiver: Option<Receiver<Result<Batch, DataError>>>,
    thread: Option<JoinHandle<()>>,
    /// Why there is no thread.
    refused: Option<DataError>,
}

impl Batches {
    /// Starts the thread that prepares batches of the samples with these indices.
    pub(super) fn start(samples: Samples, batch_size: usize, indices: Vec<u32>) -> Self {
        let (sender, receiver) = sync_channel(READY);
        let work = move || {
            for indices in indices.chunks(batch_size) {
                let batch = Batch::prepare(&samples, indices);
                let failed = batch.is_err();
                // Nobody receives any more: the iterator is gone.
                if sender.send(batch).is_err() || failed {
                    return;
                }
            }
        };
        match Builder::new().name("kiln-loader".to_owned()).spawn(work) {
            Ok(thread) => Self { receiver: Some(receiver), thread: Some(thread), refused: None },
            Err(reason) => Self { receiver: None, thread: None, refused: Some(DataError::Thread { reason }) },
        }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.refused.take() {
            return Some(Err(error));
        }
        if let Ok(batch) = self.receiver.as_ref()?.recv() {
            return Some(batch);
        }
        // The thread is done. A panic of it must not look like the end of the data.
        self.receiver = None;
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            resume_unwind(panic);
        }
        None
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        // In this order: without a receiver, a thread that waits to send gives up.
        self.receiver = None;
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by its own message.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kiln_preprocess::Preprocessor;
    use kiln_spec::{Channels, Preprocessing};

    use super::*;
    use crate::{Dataset, View};

    /// Batches of a data set of one pixel, resized to squares of this side.
    fn start(side: u32, batch_size: usize, indices: Vec<u32>) -> Batches {
        let dataset = Dataset::new("one", vec![0], [1, 1, 1], vec![0], vec!["a".to_owned()]).unwrap();
        let preprocessor = Preprocessor::new(Preprocessing::raw(side, side, Channels::Rgb)).unwrap();
        Batches::start(Samples::images(View::all(Arc::new(dataset)), Arc::new(preprocessor)), batch_size, indices)
    }

    #[test]
    fn errors_reach_the_consumer_and_end_the_batches() {
        // A batch of 240 TB.
        let mut batches = start(8192, 300_000, vec![0; 600_000]);
        assert!(matches!(batches.next(), Some(Err(DataError::Memory { images: 300_000, .. }))));
        assert!(batches.next().is_none());
    }

    #[test]
    #[should_panic(expected = "out of range for slice")]
    fn panics_reach_the_consumer() {
        let _ = start(1, 1, vec![7]).next();
    }
}
