//! Datasets, splits and batches.
//!
//! A [`Dataset`] holds the images of one set: in memory, as bytes ([`mnist`], [`raw_dataset`]), or in files that are
//! decoded as they are needed ([`folder`], [`list`](list()), [`records()`], each a [`Listing`] that is
//! [read](Listing::read)). A [`View`] selects some of them: [`View::split`] sets a validation part
//! aside and [`View::take`] makes a smaller set, both stratified by class. A [`Loader`] turns a
//! view into [`Batch`]es of f32 tensors on threads of its own, so that the next batch is ready when
//! the last one is used up.
//!
//! Nothing is fetched here: paths come from the caller. Whatever is random follows from a seed
//! alone.
//!
//! ```no_run
//! use std::{path::Path, sync::Arc};
//!
//! use kiln_data::{Loader, Order, Samples, Subset, View, mnist};
//! use kiln_preprocess::Preprocessor;
//! use kiln_model::{Channels, Preprocessing};
//!
//! let dataset = mnist(Path::new("mnist"), Subset::Train)?;
//! let (train, validation) = View::all(Arc::new(dataset)).split(0.1, 42)?;
//! let preprocessor = Arc::new(Preprocessor::new(Preprocessing::unit(28, 28, Channels::Gray))?);
//! let samples = Samples::images(train, preprocessor);
//! let loader = Loader::new(samples, 128, Order::Shuffled { seed: 42, epoch: 0 })?;
//! for batch in &loader {
//!     let batch = batch?;
//!     assert_eq!(batch.shape[1..], [1, 28, 28]);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | to find | look in |
//! | --- | --- |
//! | datasets in memory, MNIST | `dataset` |
//! | image files: folders, lists, reading them | `files` |
//! | pixels, kept or decoded as needed | `images` |
//! | pairs of IDX files, CIFAR's files | `raw` |
//! | which classes an image has | `labels` |
//! | selections, splits by class | `view`, `stratify` |
//! | images, changed at random, or features as samples | `samples` |
//! | batches on threads | `loader` |
//! | files of features, and for NumPy | `features`, `npy` |

#![deny(unsafe_code)]

mod dataset;
mod draw;
mod error;
mod features;
mod files;
mod images;
mod labels;
mod loader;
mod mixing;
mod npy;
mod random;
mod raw;
mod samples;
mod stratify;
mod view;

pub use dataset::{Dataset, Subset, cifar_10, fashion_mnist, mnist};
pub use error::{DataError, FeatureError, FilesError, Hint};
pub use features::{FeatureKey, FeatureWriter, Features};
pub use files::{
    ClassMatch, ClassNames, Decoding, Folder, ImagesBelow, ListReader, Listed, ListedFiles,
    Listing, Look, NumberedFolders, ReadFiles, ReadOptions, Repeated, SkippedFiles, SubsetRole,
    folder, images_below, list, list_checksum, record_subsets, records, subset_role,
};
pub use images::{Image, ImageMemory};
pub use kiln_records::{
    Cure, Format, IdxArray, IdxError, RecordFiles, RecordsError, is_idx, read_idx,
};
pub use labels::LabelSets;
pub use loader::{Batch, Batches, Loader, Order};
pub use mixing::Mixed;
pub use npy::NpyWriter;
pub use raw::{RawSubsets, idx_labels, raw_dataset, raw_subsets};
pub use samples::{FeatureRows, Samples};
pub use view::{Split, View};
