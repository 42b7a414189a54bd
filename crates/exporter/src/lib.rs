//! Spec and trained weights to an ONNX model.
//!
//! The graph is the plainest one that says what the model computes: one node per operation under
//! the layer's name, the batch the only symbolic dimension, dropout gone, batch normalisation in
//! inference form or folded into the layer before it. Everything a runtime needs to classify an
//! image is in the file.

#![forbid(unsafe_code)]

mod error;
mod export;
mod fold;
mod lower;
mod pixels;

pub use error::ExportError;
pub use export::{Exported, Options, export};
