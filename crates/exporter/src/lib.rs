//! From a model with trained weights to an ONNX file.
//!
//! The graph is the plainest one that computes the model: one node per operation under the layer's
//! name, the batch the only symbolic dimension, no dropout, batch normalization in inference form or
//! folded into the layer before it. Everything a runtime needs to classify an image is in the file.

#![forbid(unsafe_code)]

mod emit;
mod export;
mod graft;
mod lower;
mod operators;

pub use emit::ExportError;
pub use export::{Exported, Options, export};
pub use graft::{GraftError, cut, graft, prefix_checksums, replace_tensors};
pub use operators::{OperatorError, write};
