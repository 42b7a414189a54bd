//! The code that the build script had burn-onnx generate.

use burn::tensor::Device;

use crate::Imported;

/// What the build script made of one network.
#[derive(Debug, Clone, Copy)]
pub struct Compiled {
    /// The base, as [`kiln_model::Base::to_toml`] writes it.
    pub description: &'static str,
    /// Its layers that burn-onnx made modules of, by name, with placeholder weights.
    pub modules: fn(&Device) -> Vec<(&'static str, Imported)>,
}

/// The backbones that recipes can name.
pub mod backbones {
    #![allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated code")]
    #![allow(
        dead_code,
        reason = "the whole network's `forward` is for tests; training goes layer by layer"
    )]

    use super::Compiled;

    include!(concat!(env!("OUT_DIR"), "/backbones.rs"));
}

/// A small network, compiled in for the tests alone.
#[cfg(test)]
pub mod fixture {
    #![allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated code")]

    use super::Compiled;

    include!(concat!(env!("OUT_DIR"), "/fixture.rs"));
}
