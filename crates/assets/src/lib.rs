//! Getting data sets, pretrained weights and the ONNX Runtime library onto the machine.
//!
//! An [`Asset`] is data: files with a size and a SHA-256 checksum, and a list of [`Source`]s tried
//! in order. A [`Fetcher`] brings one into a [`Cache`]. Nothing counts as present before its
//! checksum has been compared, and nothing appears under its final name before that: a file is
//! written beside it and renamed.
//!
//! ```no_run
//! use std::sync::atomic::AtomicBool;
//! use kiln_assets::{Asset, Cache, Fetcher, Silent};
//!
//! let cancel = AtomicBool::new(false);
//! let fetcher = Fetcher::new(Cache::from_env()?, &Silent, &cancel);
//! let mnist = fetcher.fetch(&Asset::mnist())?;
//! println!("{}", mnist.folder.display());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod asset;
mod cache;
mod catalogue;
mod client;
mod clients;
mod deliver;
mod digest;
mod error;
mod extract;
mod fetch;
mod fetched;
mod http;
mod inspect;
mod install;
mod leftovers;
mod lock;
mod platform;
mod progress;
mod source_error;
mod stamp;
mod supply;
#[cfg(test)]
mod testing;

pub use asset::{Asset, AssetFile, Source};
pub use cache::{Cache, CacheError};
pub use catalogue::AssetError;
pub use clients::Clients;
pub use error::{AllSourcesFailed, ByHand, FailedSource, FetchError};
pub use fetch::Fetcher;
pub use fetched::{Fetched, FetchedFile, Origin};
pub use inspect::FileState;
pub use platform::Platform;
pub use progress::{Progress, Silent};
pub use source_error::SourceError;
