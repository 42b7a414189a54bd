//! The ONNX Runtime that a model runs on.

use std::path::PathBuf;

/// The ONNX Runtime that a model runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OrtInfo {
    /// Maximum number of runs computed at the same time; further callers wait.
    pub concurrent_runs: usize,
    /// The shared library.
    pub library: Library,
    /// Number of the graph's nodes by execution provider, as ONNX Runtime assigned them before it
    /// fused some. Best effort: it is read from ONNX Runtime's log, and empty where a version words
    /// that differently.
    pub nodes: Vec<ProviderNodes>,
}

/// An execution provider's share of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderNodes {
    /// ONNX Runtime's name of the provider, such as `CPUExecutionProvider`.
    pub provider: String,
    /// Number of nodes.
    pub nodes: usize,
}

/// A loaded ONNX Runtime library.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Library {
    /// The file.
    pub path: PathBuf,
    /// Version by the file's name, such as `1.31.1`, or by the version of the symbols that it
    /// exports; none where neither has one.
    pub version: Option<String>,
    /// The library's own description of how it was built.
    pub build: String,
    /// The execution providers that it was built with, the preferred first. That one is listed does
    /// not mean that it works: a GPU's needs a driver and further libraries.
    pub providers: Vec<String>,
}
