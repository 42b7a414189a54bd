//! What can go wrong in an engine.

use std::path::PathBuf;

use crate::options::{Device, EngineChoice};

/// An engine that is not there, refuses a model or fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The engine is not part of this build.
    #[error(
        "the engine `{0}` is not part of this build: build kiln-inference with its feature `{0}`"
    )]
    Disabled(EngineChoice),
    /// The device is not one of the engine's.
    #[error(
        "the engine `{engine}` cannot use the device `{device}`: use the engine `ort`, or the device `cpu`"
    )]
    Device {
        /// The engine.
        engine: EngineChoice,
        /// The device asked for.
        device: Device,
    },
    /// ONNX Runtime's library is not there, or cannot be used.
    #[error("no ONNX Runtime library can be loaded; tried\n{}run `kiln fetch onnxruntime`, or set KILN_ORT_LIB to the file", list(.tried))]
    Library {
        /// What was tried: the path and where it comes from, and why it failed.
        tried: Vec<(String, String)>,
    },
    /// Another ONNX Runtime library is in use already.
    #[error(
        "ONNX Runtime is already loaded from `{}`, and a process can load it only once: use that library, \
         or start a new process to use `{}`",
        loaded.display(),
        requested.display()
    )]
    SecondLibrary {
        /// The library in use.
        loaded: PathBuf,
        /// The library asked for.
        requested: PathBuf,
    },
    /// The GPU cannot be used.
    #[error(
        "ONNX Runtime cannot use the GPU: {0}: use a GPU build of ONNX Runtime with CUDA and cuDNN installed, \
         or the device `cpu`"
    )]
    Cuda(String),
    /// The engine does not know an operator.
    #[error(
        "node `{node}`: the engine `{engine}` does not know the operator `{operator}`: use another engine, \
         or export the model without it"
    )]
    Operator {
        /// The engine.
        engine: EngineChoice,
        /// The node's name, or that of its first output.
        node: String,
        /// The operator, with its domain where it is not ONNX's own.
        operator: String,
    },
    /// The engine refuses the model.
    #[error(
        "the engine `{engine}` refuses the model: {reason}: use another engine, or export the model again"
    )]
    Load {
        /// The engine.
        engine: EngineChoice,
        /// What the engine says.
        reason: String,
    },
    /// The engine failed to compute the graph.
    #[error(
        "the engine `{engine}` failed: {reason}: use another engine, or export the model again"
    )]
    Run {
        /// The engine.
        engine: EngineChoice,
        /// What the engine says.
        reason: String,
    },
    /// An output without the batch as its first axis.
    #[error(
        "output `{output}` has shape {shape:?}, expected {batch} images first: remove the output from the graph"
    )]
    NotBatched {
        /// The output's name.
        output: String,
        /// The batch size.
        batch: usize,
        /// The shape found.
        shape: Vec<usize>,
    },
    /// An output whose shape depends on the values.
    #[error(
        "output `{output}` has shapes {shapes:?} for parts of one batch: remove the output from the graph"
    )]
    Ragged {
        /// The output's name.
        output: String,
        /// Two shapes that do not fit together.
        shapes: [Vec<usize>; 2],
    },
}

fn list(tried: &[(String, String)]) -> String {
    tried
        .iter()
        .flat_map(|(what, why)| ["  ", what, ": ", why, "\n"])
        .collect()
}
