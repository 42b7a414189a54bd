//! Batches, prepared on threads of their own.

mod batch;
mod batches;
mod order;

pub use self::batch::Batch;
pub use self::batches::Batches;
pub use self::order::Order;
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
    /// A loader of batches of `batch_size` samples; the last batch has what is left.
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

    /// The samples.
    pub fn samples(&self) -> &Samples {
        &self.samples
    }

    /// Number of batches.
    pub fn batches(&self) -> usize {
        self.samples.view().len().div_ceil(self.batch_size)
    }

    /// Starts preparing batches and gives them in order.
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
