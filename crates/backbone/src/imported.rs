//! The networks that are compiled in, by name.

use std::collections::HashMap;
use std::sync::LazyLock;

use burn::nn::BatchNorm;
use burn::nn::conv::Conv2d;
use burn::nn::pool::MaxPool2d;
use burn::tensor::Device;
use kiln_model::Base;

use crate::generated::Compiled;
use crate::generated::backbones::COMPILED;

/// A layer that burn-onnx generated. Its settings are the network's; its parameters are placeholders,
/// initialized only when they are read.
#[derive(Debug)]
pub enum Imported {
    /// A convolution.
    Conv2d(Conv2d),
    /// A max pooling.
    MaxPool2d(MaxPool2d),
    /// A batch normalization; its momentum is a placeholder, too.
    BatchNorm(BatchNorm),
}

static BASES: LazyLock<Vec<Base>> = LazyLock::new(|| COMPILED.iter().map(base).collect());

/// The networks that are compiled in: VGG16, then those of `KILN_BACKBONES`.
pub fn bases() -> &'static [Base] {
    &BASES
}

/// The generated layers of the network of this name, by the names of its layers; none if it is not
/// compiled in.
pub fn modules(name: &str, device: &Device) -> HashMap<&'static str, Imported> {
    let compiled = BASES
        .iter()
        .zip(COMPILED)
        .find(|(base, _)| base.name == name);
    compiled
        .map(|(_, compiled)| (compiled.modules)(device).into_iter().collect())
        .unwrap_or_default()
}

/// The base that the build script described.
pub(crate) fn base(compiled: &Compiled) -> Base {
    Base::parse(compiled.description, "the build script's description")
        .expect("the build script wrote it")
}
