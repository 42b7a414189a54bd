//! Convolution: forward pass and gradients.

mod axis;
mod forward;
mod panels;
mod plan;
mod problem;
mod shape;
mod split;

pub use forward::{Activation, PackedFilters, conv2d_forward, conv2d_forward_packed};
pub use shape::{Conv2d, Conv2dShape};
