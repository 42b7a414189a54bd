//! Batches, prepared on threads of their own.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, JoinHandle, available_parallelism};

use rand::seq::SliceRandom;

use crate::mixing::{Mixed, mix};
use crate::random::{Use, generator};
use crate::{DataError, Samples};

/// Turns the samples of a view into batches.
///
/// It can be iterated over any number of times, and gives the same batches each time.
#[derive(Debug)]
pub struct Loader {
    samples: Samples,
    batch_size: usize,
    order: Order,
}

impl Loader {
    /// Creates a loader of batches of `batch_size` samples; the last batch has what is left.
    ///
    /// The first sample is prepared as a trial, so that images that do not fit the record are found
    /// here.
    pub fn new(samples: Samples, batch_size: usize, order: Order) -> Result<Self, DataError> {
        if batch_size == 0 {
            return Err(DataError::BatchSize);
        }
        if let Some(first) = samples.view().indices().get(..1) {
            Batch::prepare(&samples, first, order)?;
        }
        Ok(Self {
            samples,
            batch_size,
            order,
        })
    }

    /// Returns the samples.
    pub fn samples(&self) -> &Samples {
        &self.samples
    }

    /// Returns the number of batches.
    pub fn batches(&self) -> usize {
        self.samples.view().len().div_ceil(self.batch_size)
    }

    /// Starts preparing batches and returns them in order.
    pub fn iter(&self) -> Batches {
        let indices = self.order.apply(self.samples.view().indices());
        Batches::start(&self.samples, self.batch_size, indices, self.order)
    }
}

impl IntoIterator for &Loader {
    type Item = Result<Batch, DataError>;
    type IntoIter = Batches;

    fn into_iter(self) -> Batches {
        self.iter()
    }
}

/// Order of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As in the view: for validation and evaluation. Images are never augmented.
    Sequential,
    /// A random order (Fisher–Yates) that depends on the seed, the epoch and the number of samples
    /// alone, and is the same on every platform: the random numbers are a `ChaCha8` stream.
    Shuffled {
        /// The seed of the whole training.
        seed: u64,
        /// The epoch; each has an order of its own.
        epoch: u64,
    },
}

impl Order {
    /// Returns these samples in this order.
    fn apply(self, indices: &[u32]) -> Vec<u32> {
        let mut indices = indices.to_vec();
        if let Self::Shuffled { seed, epoch } = self {
            indices.shuffle(&mut generator(seed, Use::Shuffle { epoch }));
        }
        indices
    }
}

/// Samples that go through a model together.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The tensor's values, in the order of `shape`.
    pub values: Vec<f32>,
    /// Samples, channels, height, width; features are all channels.
    pub shape: [usize; 4],
    /// The label of each sample.
    pub labels: Vec<u32>,
    /// Index of each sample in the dataset.
    pub indices: Vec<u32>,
    /// What the images were mixed with, if they were.
    pub mixed: Option<Mixed>,
}

impl Batch {
    /// Returns the label of what each image shows most of.
    pub fn main_labels(&self) -> Vec<u32> {
        let other = self.mixed.as_ref().filter(|mixed| mixed.share < 0.5);
        other.map_or(&self.labels, |mixed| &mixed.labels).clone()
    }

    /// Prepares the batch of the samples with these numbers in the dataset; the order tells only
    /// whether they are for training.
    fn prepare(samples: &Samples, indices: &[u32], order: Order) -> Result<Self, DataError> {
        let shuffled = match order {
            Order::Sequential => None,
            Order::Shuffled { seed, epoch } => Some((seed, epoch)),
        };
        let [channels, height, width] = samples.shape();
        let size = channels * height * width;
        let mut values = zeros(indices.len(), size)?;
        for (&index, values) in indices.iter().zip(values.chunks_exact_mut(size)) {
            samples.prepare(index, shuffled, values)?;
        }
        let all = samples.view().dataset().labels();
        let labels: Vec<u32> = indices.iter().map(|&index| all[index as usize]).collect();
        let shape = [indices.len(), channels, height, width];
        let mixed = samples
            .augmentation()
            .zip(shuffled)
            .and_then(|(augmentation, when)| {
                mix(augmentation, when, indices, shape, &mut values, &labels)
            });
        Ok(Self {
            values,
            shape,
            labels,
            indices: indices.to_vec(),
            mixed,
        })
    }
}

/// Allocates a batch. Its size comes from a recipe, so too large a size must not end the program.
fn zeros(images: usize, values: usize) -> Result<Vec<f32>, DataError> {
    let mut pixels = Vec::new();
    let length = images
        .checked_mul(values)
        .ok_or(DataError::Memory { images, values })?;
    pixels
        .try_reserve_exact(length)
        .map_err(|_| DataError::Memory { images, values })?;
    pixels.resize(length, 0.0);
    Ok(pixels)
}

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
    /// Index of the worker whose batch comes next.
    next: usize,
    /// Reason why there is no thread.
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
    fn start(samples: &Samples, batch_size: usize, indices: Vec<u32>, order: Order) -> Self {
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
                    // The iterator was dropped.
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

    #[test]
    fn order_follows_from_seed_and_epoch() {
        let indices: Vec<u32> = (0..50).collect();
        let shuffled = |seed, epoch| Order::Shuffled { seed, epoch }.apply(&indices);
        assert_eq!(Order::Sequential.apply(&indices), indices);
        assert_eq!(shuffled(1, 1), shuffled(1, 1));
        assert_ne!(shuffled(1, 1), shuffled(1, 2));
        assert_ne!(shuffled(1, 1), shuffled(2, 1));
        let mut sorted = shuffled(1, 1);
        sorted.sort_unstable();
        assert_eq!(sorted, indices);
    }

    #[test]
    fn batches_beyond_memory_are_an_error() {
        for (images, values) in [(usize::MAX, 2), (usize::MAX / 4, 1)] {
            assert!(matches!(
                zeros(images, values),
                Err(DataError::Memory { .. })
            ));
        }
    }

    /// Batches of a dataset of one pixel, resized to squares of this side.
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
