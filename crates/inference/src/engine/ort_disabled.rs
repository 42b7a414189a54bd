//! In place of ONNX Runtime in builds without it.

use super::{Engine, EngineError, Source};
use crate::options::{EngineChoice, Options};
use crate::receipt::Library;

/// Says that ONNX Runtime is not part of this build.
pub fn load(_: &Source<'_>, _: &Options, _: usize) -> Result<Box<dyn Engine>, EngineError> {
    Err(EngineError::Disabled(EngineChoice::Ort))
}

/// Says that ONNX Runtime is not part of this build.
pub fn probe_ort(_: &Options) -> Result<Library, EngineError> {
    Err(EngineError::Disabled(EngineChoice::Ort))
}
