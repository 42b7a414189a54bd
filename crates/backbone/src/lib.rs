//! Pretrained backbones for transfer learning.
//!
//! VGG16's Burn code is generated at build time by burn-onnx (once called burn-import). Nothing is
//! downloaded for it, and no weights are kept: they are read at run time by `kiln_import::weights`,
//! from any ONNX file of the same network.
//!
//! ```
//! use burn::tensor::Device;
//!
//! let vgg16 = &kiln_backbone::bases()[0];
//! assert_eq!((vgg16.name.as_str(), vgg16.layers.len()), ("vgg16", 18));
//! assert_eq!(kiln_backbone::modules("vgg16", &Device::default()).len(), 18);
//! ```

#![forbid(unsafe_code)]

mod imported;
#[cfg(test)]
mod tests;

pub use imported::{Imported, bases, modules};
