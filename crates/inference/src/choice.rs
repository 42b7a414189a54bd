//! The engine and device that a model runs on: as asked for, and as in use.

use std::fmt;

#[cfg(feature = "ort")]
use crate::engine::ort::info::OrtInfo;

/// An engine of this build, cheap to copy and compare. It is parsed from its name, such as `tract`.
///
/// ```
/// use kiln_inference::EngineId;
///
/// let engine: EngineId = EngineId::default().name().parse()?;
/// assert_eq!(engine, EngineId::default());
/// # Ok::<(), kiln_inference::ParseEngineError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EngineId {
    name: &'static str,
    title: &'static str,
}

impl EngineId {
    pub(crate) const fn new(name: &'static str, title: &'static str) -> Self {
        Self { name, title }
    }

    /// Returns the name on the command line, in files and in results, which is that of the Cargo
    /// feature too.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// Returns the name for people, such as `ONNX Runtime`.
    pub const fn title(self) -> &'static str {
        self.title
    }
}

impl fmt::Display for EngineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A name that is not that of an engine of this build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseEngineError {
    /// An engine that this build leaves out.
    #[error("the engine `{0}` is not part of this build")]
    Disabled(String),
    /// No engine has this name.
    #[error("expected one of {}, found `{found}`", quoted(.expected))]
    Unknown {
        /// The names of the engines of this build.
        expected: Vec<&'static str>,
        /// The name.
        found: String,
    },
}

fn quoted(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// Where the graph is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Device {
    /// The CPU.
    #[default]
    Cpu,
    /// The first NVIDIA GPU, for instance by ONNX Runtime's CUDA execution provider. An error where
    /// that does not work.
    Cuda,
    /// The GPU where it works, the CPU elsewhere; [`RuntimeInfo`](crate::RuntimeInfo) has the one
    /// in use, and the reason.
    Auto,
}

kiln_util::str_enum!(Device { Cpu = "cpu", Cuda = "cuda", Auto = "auto" });

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_back() {
        for device in Device::ALL {
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        assert_eq!(
            "gpu".parse::<Device>().unwrap_err().to_string(),
            "expected one of `cpu`, `cuda`, `auto`; did you mean `cuda`?"
        );
    }
}
