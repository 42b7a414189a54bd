//! The engine, version, device and library that a model runs on.

use crate::choice::{Device, EngineId};
#[cfg(feature = "ort")]
use crate::engine::ort::info::OrtInfo;

/// The engine, version, device and library actually in use, to be written beside results.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuntimeInfo {
    /// What computes the graph.
    pub engine: EngineId,
    /// The engine's version, where it is known.
    pub version: Option<String>,
    /// The device asked for.
    pub requested: Device,
    /// The device in use: `Cpu` or `Cuda`.
    pub device: Device,
    /// Why `device` is the CPU though `Auto` was asked for.
    pub fallback: Option<String>,
    /// Number of threads of all concurrent runs together.
    pub threads: usize,
    /// What only ONNX Runtime has; none for other engines.
    #[cfg(feature = "ort")]
    pub ort: Option<OrtInfo>,
}

impl RuntimeInfo {
    /// Returns that of an engine of no version on the CPU, as it was asked for.
    pub(crate) const fn new(engine: EngineId, requested: Device, threads: usize) -> Self {
        Self {
            engine,
            version: None,
            requested,
            device: Device::Cpu,
            fallback: None,
            threads,
            #[cfg(feature = "ort")]
            ort: None,
        }
    }
}
