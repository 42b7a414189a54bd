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
    /// Number of threads.
    pub threads: usize,
    /// The shared library, for ONNX Runtime.
    pub library: Option<Library>,
}

/// A loaded ONNX Runtime library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// The file.
    pub path: PathBuf,
    /// Version by the file's name, such as `1.31.1`; none where the name has no version.
    pub version: Option<String>,
    /// What the library says about how it was built.
    pub build: String,
}
