//! What a model really runs on.

use std::path::PathBuf;

use crate::options::{Device, EngineChoice};

/// What a model really runs on, to be written beside its results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// What computes the graph.
    pub engine: EngineChoice,
    /// The engine's version, where it is known.
    pub version: Option<String>,
    /// The device asked for.
    pub requested: Device,
    /// The device in use: `Cpu` or `Cuda`.
    pub device: Device,
    /// Why `device` is the processor though `Auto` was asked for.
    pub fallback: Option<String>,
    /// Number of threads, of all runs at a time together.
    pub threads: usize,
    /// Number of runs that callers can have at a time; more of them wait. tract, whose runs take a
    /// thread each, sets no limit: there it is `None`.
    pub parallel_runs: Option<usize>,
    /// The shared library, for ONNX Runtime.
    pub library: Option<Library>,
    /// Which execution provider computes how many of the graph's nodes, as ONNX Runtime shared them
    /// out before it fused some. Empty for tract, and where a version of ONNX Runtime does not say
    /// it.
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
pub struct Library {
    /// The file.
    pub path: PathBuf,
    /// Version by the file's name, such as `1.31.1`, or by the version of the symbols that it
    /// exports; none where neither has one.
    pub version: Option<String>,
    /// What the library says about how it was built.
    pub build: String,
    /// The execution providers that it was built with, the preferred first. That one is listed does
    /// not mean that it works: a GPU's needs a driver and further libraries.
    pub providers: Vec<String>,
}
