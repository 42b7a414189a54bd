//! Pretrained networks out of ONNX files: their layers, and their weights by layer.
//!
//! A file is read by structure, by following the image from node to node, and not by one exporter's
//! names. [`load_base`] reads the layers of a network, for the build of a program that compiles it
//! in; [`weights`] reads the weights of a known network from any file of it, and refuses a file of
//! another one with the first difference.
//!
//! [`graph`] reads any network, branches and all, as a chain of segments, to list them, to cut and extend
//! the file, and to train what can be trained; [`parameter_values`] reads its weights.
//!
//! ```no_run
//! let vgg16 = kiln_model::Base::vgg16();
//! let parameters = kiln_import::weights(&vgg16, &kiln_onnx::load("vgg16.onnx")?)?;
//! assert_eq!((parameters[0].name.as_str(), &parameters[0].shape[..]), ("block1_conv1.weight", &[64, 3, 3, 3][..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod attributes;
mod base;
mod chain;
mod constants;
mod error;
mod graph;
mod ops;
mod padding;
mod reader;
#[cfg(test)]
mod tests;
mod weights;

pub use base::{base, load_base};
pub use error::{BaseError, GraphError, WeightsError};
pub use graph::{graph, graph_to, parameter_values};
pub use weights::{Parameter, weights};
