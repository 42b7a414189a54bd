//! Pretrained networks out of published weights, without Python.
//!
//! Weights are published as pickles: PyTorch's `.pth` and `.pt` files, or dictionaries of `NumPy`
//! arrays. [`Tensors::read`] reads them with a fixed set of operations and executes nothing;
//! [`Network::convert`] makes an ONNX model of the tensors by their names, with preprocessing, labels
//! and provenance in its metadata.
//!
//! ```no_run
//! use std::collections::BTreeMap;
//!
//! use kiln_zoo::{Network, read_labels};
//!
//! let weights = std::fs::read("efficientnet-lite0-57934424.pth")?;
//! let labels = read_labels(&std::fs::read("imagenet1k_clean_names.json")?)?;
//! let model = Network::EfficientNetLite0.convert(&weights, labels, BTreeMap::new())?;
//! std::fs::write("efficientnet-lite0.onnx", kiln_onnx::encode(&model))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | to find | look in |
//! | --- | --- |
//! | PyTorch's two file formats, and plain pickles | `container` |
//! | the operations of a pickle, and which functions it may name | `pickle` |
//! | tensors by name, their bounds and values | `tensors` |
//! | the networks, as graphs | `networks` |
//! | the classes' names | `labels` |

#![forbid(unsafe_code)]

mod container;
mod error;
mod labels;
mod networks;
mod pickle;
mod tensors;

pub use error::{ConvertError, ReadError};
pub use labels::{LabelsError, read_labels};
pub use networks::Network;
pub use tensors::{ElementType, Tensor, Tensors};
