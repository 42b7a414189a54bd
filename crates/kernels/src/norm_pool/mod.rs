//! Batch normalization, residual, activation, max-pooling and dropout as one operation.
//!
//! After a convolution these are bound by memory: each alone would read and write the whole
//! activation. Together they read it once (twice where the batch's statistics are needed) and write
//! a quarter of it.

mod backward;
mod forward;
mod shape;
mod state;

pub use backward::NormPoolGradient;
pub(crate) use forward::lanes;
pub use forward::{NormPoolSteps, norm_pool_forward};
pub(crate) use shape::by_window;
pub use shape::{NormPool, NormPoolShape, Pool2d};
pub use state::{Norm, NormPoolState, Statistics};
