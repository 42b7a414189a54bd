//! The networks that are compiled in, by name.

use std::collections::HashMap;
use std::sync::LazyLock;

use burn::nn::conv::Conv2d;
use burn::nn::pool::MaxPool2d;
use burn::tensor::Device;
use kiln_model::Base;

/// A layer that burn-onnx generated. Its settings are the network's; its parameters are placeholders,
/// initialized only when they are read.
#[derive(Debug)]
pub enum Imported {
    /// A convolution.
    Conv2d(Conv2d),
    /// A max pooling.
    MaxPool2d(MaxPool2d),
}

/// The code that the build script had burn-onnx generate.
pub mod vgg16 {
    #![allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated code")]
    #![allow(
        dead_code,
        reason = "the whole network's `forward` is for tests; training goes layer by layer"
    )]

    include!(concat!(env!("OUT_DIR"), "/vgg16/vgg16.rs"));
}

static BASES: LazyLock<[Base; 1]> = LazyLock::new(|| [Base::vgg16()]);

/// The networks that are compiled in: VGG16.
pub fn bases() -> &'static [Base] {
    &*BASES
}

/// The generated layers of the network of this name, by the names of its layers; none if it is not
/// compiled in.
pub fn modules(name: &str, device: &Device) -> HashMap<&'static str, Imported> {
    if name != bases()[0].name {
        return HashMap::new();
    }
    let modules = vgg16::Model::new(device).into_modules();
    modules.into_iter().collect()
}
