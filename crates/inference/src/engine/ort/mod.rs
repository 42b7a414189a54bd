//! ONNX Runtime, by way of the `ort` crate and a shared library found at run time.

mod binary;
pub(crate) mod error;
pub(crate) mod info;
pub(crate) mod library;
mod runtime;
mod session;

use super::error::EngineError;
use super::interface::{Availability, EngineInfo};
use crate::choice::{Device, EngineId};
use crate::options::Options;
use info::Library;
use kiln_onnx::DataType;

impl EngineId {
    /// ONNX Runtime: a shared library found at run time.
    pub const ORT: Self = Self::new("ort", "ONNX Runtime");
}

pub const INFO: EngineInfo = EngineInfo {
    id: EngineId::ORT,
    summary: "ONNX Runtime, a shared library",
    devices: &Device::ALL,
    // Not every operator of theirs has kernels for the others on the CPU.
    floats: &[DataType::Float16],
    is_configured: |options| library::named(&options.ort).is_some(),
    probe,
    load: session::load,
};

fn probe(options: &Options) -> Result<Availability, EngineError> {
    let library = load_library(options)?;
    Ok(Availability {
        version: library.version,
        details: vec![
            library.path.display().to_string(),
            library.providers.join(", "),
        ],
    })
}

/// Finds and loads ONNX Runtime's library, as loading a model would, and returns which it is.
///
/// # Errors
///
/// Returns the places tried, or the library that the process has loaded before.
pub fn load_library(options: &Options) -> Result<Library, EngineError> {
    Ok(runtime::get(&options.ort)?.library.clone())
}
