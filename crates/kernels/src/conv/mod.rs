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
//! | the output's gradient before the activation | `output_gradient` |
//! | 3×3 and 5×5 kernels by fewer multiplications | `winograd` |
//! | all of this for one filter a channel | `depthwise` |

mod backward;
mod depthwise;
mod forward;
mod geometry;
mod output_gradient;
mod pack;
mod plan;
mod shape;
mod weight_gradient;
mod winograd;

pub use backward::conv2d_backward;
pub use forward::{PreparedConv2d, conv2d_forward};
pub use output_gradient::{Conv2dGradients, OutputGradient};
pub use shape::{Conv2d, Conv2dShape};
