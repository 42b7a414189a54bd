//! What can go wrong in an engine.

use std::fmt::Display;

use crate::choice::{Device, EngineId};
#[cfg(feature = "ort")]
use crate::engine::ort::error::OrtError;
use crate::hint::Hint;

/// Longest message of an engine in characters: a dump of a graph would begin after them.
const LONGEST: usize = 600;

/// An engine that is not available, refuses a model or fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The device is not one of the engine's.
    #[error("the engine `{engine}` cannot use the device `{device}`")]
    Device {
        /// The engine.
        engine: EngineId,
        /// The device asked for.
        device: Device,
        /// The engines of this build that can use it.
        able: Vec<EngineId>,
    },
    /// The engine does not tell what the steps of a graph cost.
    #[error("the engine `{engine}` does not tell what each step of a graph takes: tract does")]
    NoProfile {
        /// The engine.
        engine: EngineId,
    },
    /// The engine does not know an operator.
    #[error("node `{node}`: the engine `{engine}` does not know the operator `{operator}`")]
    Operator {
        /// The engine.
        engine: EngineId,
        /// The node's name, or that of its first output.
        node: String,
        /// The operator, with its domain where it is not ONNX's own.
        operator: String,
    },
    /// The engine refuses the model.
    #[error("the engine `{engine}` refuses the model: {reason}")]
    Load {
        /// The engine.
        engine: EngineId,
        /// The engine's message.
        reason: String,
    },
    /// The engine failed to compute the graph.
    #[error("the engine `{engine}` failed: {reason}")]
    Run {
        /// The engine.
        engine: EngineId,
        /// The engine's message.
        reason: String,
    },
    /// An output without the batch as its first axis.
    #[error("output `{output}` has shape {shape:?}, expected {batch} images first")]
    NotBatched {
        /// The output's name.
        output: String,
        /// The batch size.
        batch: usize,
        /// The shape found.
        shape: Vec<usize>,
    },
    /// An output whose shape depends on the values.
    #[error("output `{output}` has shapes {shapes:?} for parts of one batch")]
    Ragged {
        /// The output's name.
        output: String,
        /// Two shapes that do not fit together.
        shapes: [Vec<usize>; 2],
    },
    /// ONNX Runtime's library or its GPU cannot be used.
    #[cfg(feature = "ort")]
    #[error(transparent)]
    Ort(#[from] OrtError),
}

impl EngineError {
    /// Returns what can be done about it.
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::Device { able, .. } => Hint::SupportedDevice {
                engines: able.clone(),
            },
            Self::Operator { .. } => Hint::OtherEngineOrOperator,
            Self::NoProfile { .. } => return None,
            Self::Load { .. } | Self::Run { .. } => Hint::OtherEngine,
            Self::NotBatched { .. } | Self::Ragged { .. } => Hint::RemoveOutput,
            #[cfg(feature = "ort")]
            Self::Ort(error) => error.hint(),
        })
    }
}

/// Returns an engine's message without line breaks, shortened where it is very long.
#[allow(
    dead_code,
    reason = "whether it is used depends on the engines of the build"
)]
pub(crate) fn one_line(message: &dyn Display) -> String {
    let mut line = message
        .to_string()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    if let Some((end, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_shortened_and_kept_on_one_line() {
        let line = one_line(&"né\n".repeat(1000));
        assert_eq!(line.chars().count(), 601);
        assert!(line.starts_with("né né "));
    }
}
