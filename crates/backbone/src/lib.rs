//! Pretrained backbones for transfer learning.
//!
//! The Burn code of a backbone is generated at build time by burn-onnx (once called burn-import) from an ONNX graph
//! that the build script makes; nothing is downloaded for it. The weights are read at run time from any ONNX file of the
//! same network, by structure and not by one exporter's names.
//!
//! ```no_run
//! use burn::tensor::Device;
//! use kiln_backbone::{Vgg16, Vgg16Weights};
//!
//! let weights = Vgg16Weights::from_onnx(&kiln_onnx::load("vgg16.onnx")?)?;
//! let vgg16 = Vgg16::new(&weights, &Device::default());
//! assert_eq!((vgg16.convs.len(), vgg16.pools.len()), (13, 5));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod generated;
mod layout;
mod vgg16;
mod weights;

pub use vgg16::Vgg16;
pub use weights::{BackboneError, ConvWeights, Vgg16Weights};
