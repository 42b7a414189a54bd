//! The ONNX file of a network as a chain of segments, and the weights in it.
//!
//! A file is read by structure, by following the image from node to node, and not by one exporter's
//! names. [`graph`] reads any network, branches and all, as a chain of segments, to list them, to cut
//! and extend the file, and to train what can be trained; [`parameter_values`] reads its weights.
//! [`weights`] reads those of a known network, by its layers, from any file of it, and refuses a file
//! of another one with the first difference.
//!
//! ```no_run
//! let vgg16 = kiln_model::Base::vgg16();
//! let parameters = kiln_import::weights(&vgg16, &kiln_onnx::load("vgg16.onnx")?)?;
//! assert_eq!((parameters[0].name.as_str(), &parameters[0].shape[..]), ("block1_conv1.weight", &[64, 3, 3, 3][..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod attributes;
mod error;
mod graph;
#[cfg(test)]
mod tests;

pub use error::{GraphError, WeightsError};
pub use graph::{Parameter, graph, graph_to, parameter_values, weights};
