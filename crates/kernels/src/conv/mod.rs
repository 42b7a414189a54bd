//! Convolution: forward pass and gradients.

mod axis;
mod backward;
mod forward;
mod gradient;
mod input_gradient;
mod pack;
mod panels;
mod plan;
mod problem;
mod shape;
mod split;
mod staging;
mod weight_tiles;

pub use backward::{Conv2dGradients, conv2d_backward};
pub use forward::{Activation, PackedFilters, conv2d_forward, conv2d_forward_packed};
pub use gradient::OutputGradient;
pub use shape::{Conv2d, Conv2dShape};
