//! Options that only ONNX Runtime has.

use std::path::PathBuf;

/// Options that only ONNX Runtime has.
///
/// Its library is searched in this order: [`library`](Self::library), the environment variable
/// `KILN_ORT_LIB`, [`library_cache`](Self::library_cache), the system's search path. The first two
/// are orders rather than hints: if one is given and does not work, that is an error, and nothing
/// else is tried.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct OrtOptions {
    /// The shared library, or the folder that holds it.
    pub library: Option<PathBuf>,
    /// File or folder where a downloaded library is kept.
    pub library_cache: Option<PathBuf>,
    /// Maximum number of runs that are computed at the same time; further callers wait.
    /// [`threads`](crate::Options::threads) are shared out among them, so that there are no more
    /// runs than threads. Default 1: each run has all threads, which is best for one caller with
    /// batches. As many as threads is best for many callers with single images, and takes the
    /// memory of the weights and of a run once for each.
    pub concurrent_runs: Option<usize>,
}

impl OrtOptions {
    /// Sets the shared library, or the folder that holds it.
    #[must_use]
    pub fn with_library(mut self, library: impl Into<Option<PathBuf>>) -> Self {
        self.library = library.into();
        self
    }

    /// Sets the file or folder where a downloaded library is kept.
    #[must_use]
    pub fn with_library_cache(mut self, cache: impl Into<Option<PathBuf>>) -> Self {
        self.library_cache = cache.into();
        self
    }

    /// Sets the maximum number of concurrent runs.
    #[must_use]
    pub fn with_concurrent_runs(mut self, runs: impl Into<Option<usize>>) -> Self {
        self.concurrent_runs = runs.into();
        self
    }
}
