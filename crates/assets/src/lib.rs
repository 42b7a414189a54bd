//! Datasets, pretrained weights and the ONNX Runtime library, downloaded and verified.
//!
//! An [`Asset`] is data: files with a size and a SHA-256 checksum, and a list of [`Source`]s tried
//! in order. A [`Fetcher`] brings one into a [`Cache`]. Nothing counts as present before its
//! checksum has been compared, and nothing appears under its final name before that: a file is
//! written beside it and renamed.
//!
//! ```no_run
//! use kiln_assets::{Asset, Cache, Fetcher, Silent};
//! use kiln_util::CancelToken;
//!
//! let cancel = CancelToken::new();
//! let fetcher = Fetcher::new(Cache::from_env()?, &Silent, &cancel);
//! let mnist = fetcher.fetch(&Asset::mnist())?;
//! println!("{}", mnist.folder.display());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | to find | look in |
//! | --- | --- |
//! | what an asset is | `asset` |
//! | the assets that kiln knows, and platforms | `catalog` |
//! | where files are kept, and their verification | `cache` |
//! | the order of sources, downloads and archives | `fetch` |
//! | files that the user supplies | `supply` |
//! | HTTP downloads that resume | `http` |
//! | npm and pip | `package` |
//! | archives | `extract` |
//! | writing one verified file | `install` |

#![forbid(unsafe_code)]

mod asset;
mod cache;
mod catalog;
mod error;
mod extract;
mod fetch;
mod http;
mod install;
mod package;
mod progress;
mod supply;
#[cfg(test)]
mod testing;

pub use asset::{Asset, AssetFile, Source};
pub use cache::{Cache, FileState};
pub use catalog::{AssetError, Platform};
pub use error::{CacheError, FailedSource, FetchError, Hint, SourceError, Wanted};
pub use fetch::{Fetched, FetchedFile, Fetcher, Origin};
pub use progress::{Progress, Silent};
