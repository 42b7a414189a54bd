//! Datasets that were read, and images that were skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_data::{Dataset, Decoding, ImageMemory};
use kiln_model::DataSource;

/// At most this many skipped images are described; the others are counted.
const DESCRIBED: usize = 20;

/// Images that were skipped because they could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Number of images.
    pub count: u64,
    /// What is wrong with the first twenty of them.
    pub reasons: Vec<String>,
}

/// The subsets that a dataset comes in.
#[derive(Debug, Clone)]
pub struct Subsets {
    /// Images to train on, or all images.
    pub train: Arc<Dataset>,
    /// Validation images, if the dataset has some.
    pub validation: Option<Arc<Dataset>>,
    /// Test images, if the dataset has some.
    pub test: Option<Arc<Dataset>>,
}

/// Datasets of image files that were read, however often they are asked for, and the images that
/// were skipped.
#[derive(Debug, Default)]
pub struct FileDatasets {
    skip_unreadable: bool,
    decoding: Mutex<Decoding>,
    /// For the pixels that all datasets together keep.
    memory: ImageMemory,
    subsets: Mutex<BTreeMap<DataSource, Subsets>>,
    skipped: Mutex<Skipped>,
    told: Mutex<BTreeSet<String>>,
}

impl FileDatasets {
    /// Creates an empty store. An image that cannot be read is skipped if `skip_unreadable`, else it
    /// is an error.
    pub fn new(skip_unreadable: bool) -> Self {
        Self {
            skip_unreadable,
            ..Self::default()
        }
    }

    /// Returns whether images that cannot be read are skipped.
    pub fn skips_unreadable(&self) -> bool {
        self.skip_unreadable
    }

    /// From here on, does this with the pixels of files that are read.
    pub fn set_decoding(&self, decoding: Decoding) {
        *lock(&self.decoding) = decoding;
    }

    /// Returns what becomes of the pixels of files that are read.
    pub(crate) fn decoding(&self) -> Decoding {
        *lock(&self.decoding)
    }

    /// Returns the memory for pixels that are kept.
    pub(crate) fn memory(&self) -> ImageMemory {
        self.memory.clone()
    }

    /// Forgets the datasets that were read.
    #[cfg(feature = "training")]
    pub(crate) fn forget(&self) {
        lock(&self.subsets).clear();
    }

    /// Returns the images that were skipped so far.
    pub fn skipped(&self) -> Skipped {
        lock(&self.skipped).clone()
    }

    /// Counts images that were skipped, with what is wrong with the first of them.
    pub(crate) fn skip(&self, count: u64, reasons: impl IntoIterator<Item = String>) {
        let mut skipped = lock(&self.skipped);
        skipped.count += count;
        let room = DESCRIBED.saturating_sub(skipped.reasons.len());
        skipped.reasons.extend(reasons.into_iter().take(room));
    }

    /// Returns whether a note about a dataset was not asked for yet: it is to be told once, however often
    /// the dataset is used.
    pub(crate) fn is_news(&self, note: &str, dataset: &str) -> bool {
        lock(&self.told).insert(format!("{note}\0{dataset}"))
    }

    /// Returns a dataset that was read before.
    pub(crate) fn get(&self, source: &DataSource) -> Option<Subsets> {
        lock(&self.subsets).get(source).cloned()
    }

    /// Keeps a dataset.
    pub(crate) fn insert(&self, source: DataSource, subsets: Subsets) {
        lock(&self.subsets).insert(source, subsets);
    }
}

/// A panic while reading leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
