//! kernels

#![allow(unsafe_code, reason = "SIMD intrinsics")]

mod conv;
mod error;
mod level;
mod micro;
mod parallel;
mod scratch;
mod simd;

pub use conv::{Activation, Conv2d, Conv2dShape, PackedFilters, conv2d_forward, conv2d_forward_packed};
pub use error::ShapeError;
pub use level::Level;
