//! Batch normalisation, max-pooling and dropout as one operation.

mod backward;
mod forward;
mod shape;
mod state;
mod statistics;
mod windows;

pub use backward::NormPoolGradient;
pub use forward::norm_pool_forward;
pub use shape::{NormPool, NormPoolShape, Pool2d};
pub use state::{Norm, NormPoolState, Statistics};
