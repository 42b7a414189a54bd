//! Smaller ONNX models: weights and activations in 8-bit integers ([`Prepared`]), weights alone in 8 bits or in
//! half precision ([`shrink_weights`]).
//!
//! A model in 8 bits is written as ONNX Runtime, TensorRT and OpenVINO take it: float operators between pairs of
//! `QuantizeLinear` and `DequantizeLinear`, which an engine turns into integer arithmetic where it can. What an
//! activation's scale has to cover is observed on images: [`Observer`] collects it, [`Range`] is what a
//! [`Method`] makes of it.
//!
//! ```text
//! model ──Prepared──▶ values to observe ──engine, images──▶ Observer ──Method──▶ Range ──quantize──▶ model in 8 bits
//! ```

#![forbid(unsafe_code)]

mod equalize;
mod error;
mod fold;
mod graph;
mod observe;
mod plan;
mod prepare;
mod scale;
mod weights;
mod write;

pub use error::QuantizeError;
pub use observe::{Method, Observer, Range};
pub use prepare::{Prepared, Settings};
pub use scale::Activations;
pub use weights::{Precision, shrink_weights};
pub use write::Calibration;
