//! Convolution: forward pass and gradients.
//!
//! | to find | look in |
//! | --- | --- |
//! | sizes, and what makes them valid | `shape` |
//! | which input meets which tap at each output | `geometry` |
//! | the order of packed weights | `pack` |
//! | tiles of the product, and shares of threads | `plan` |
//! | the passes | `forward`, `backward` |
//! | the sum over pixels for the weights | `weight_gradient` |

mod backward;
mod forward;
mod geometry;
mod pack;
mod plan;
mod shape;
mod weight_gradient;

pub use backward::{Conv2dGradients, OutputGradient, conv2d_backward};
pub use forward::{Activation, conv2d_forward};
pub use shape::{Conv2d, Conv2dShape};
