//! Batches, prepared on a thread of their own.

mod batch;
mod batches;
mod order;

use std::sync::Arc;

use kiln_preprocess::Preprocessor;

pub use self::batch::Batch;
pub use self::batches::Batches;
pub use self::order::Order;
use crate::{DataError, View};

/// Turns the samples of a view into batches.
///
/// It can be iterated over any number of times, and gives the same batches each time.
#[derive(Debug)]
pub struct Loader {
    view: View,
    preprocessor: Arc<Preprocessor>,
    batch_size: usize,
    order: Order,
}

impl Loader {
    /// A loader of batches of `batch_size` samples; the last batch has what is left.
    ///
    /// The first sample is preprocessed as a trial, so that images that do not fit the record are found here.
    pub fn new(
        view: View,
        preprocessor: Arc<Preprocessor>,
        batch_size: usize,
        order: Order,
    ) -> Result<Self, DataError> {
        if batch_size == 0 {
            return Err(DataError::BatchSize);
        }
        if let Some(first) = view.indices().get(..1) {
            Batch::prepare(&view, &preprocessor, first)?;
        }
        Ok(Self { view, preprocessor, batch_size, order })
    }

    /// The samples.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Number of batches.
    pub fn batches(&self) -> usize {
        self.view.len().div_ceil(self.batch_size)
    }

    /// Starts preparing batches and gives them in order.
    pub fn iter(&self) -> Batches {
        let indices = self.order.apply(self.view.indices());
        Batches::start(self.view.clone(), Arc::clone(&self.preprocessor), self.batch_size, indices)
    }
}

impl IntoIterator for &Loader {
    type Item = Result<Batch, DataError>;
    type IntoIter = Batches;

    fn into_iter(self) -> Batches {
        self.iter()
    }
}
