//! In place of tract in builds without it.

use super::{Engine, EngineError, Source};
use crate::options::{EngineChoice, Options};

/// Says that tract is not part of this build.
pub fn load(_: &Source<'_>, _: &Options, _: usize) -> Result<Box<dyn Engine>, EngineError> {
    Err(EngineError::Disabled(EngineChoice::Tract))
}
