//! ONNX Runtime, by way of the `ort` crate and a shared library found at run time.

mod binary;
mod library;
mod placement;
mod providers;
mod runtime;
mod session;

pub use library::probe_ort;
pub use session::load;
