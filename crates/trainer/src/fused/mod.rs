//! Sequences of layers that kiln's kernels compute in one pass, as an extension of Burn's backend.
//!
//! Burn's own operations go through memory once for each layer, forward and backward; what they
//! spend on that is several times what the arithmetic takes. An [`Operation`] covers a convolution
//! or dense layer with its activation, and the batch normalization, pooling and dropout after it:
//! the activations of a small image stay in the cache from one to the next.
//!
//! [`KernelOps`] adds it to the CPU backend, and its gradients to that backend's autodiff. The
//! layers' parameters stay where they are, in Burn's modules; other devices run the modules
//! themselves.

// Who uses whom: ops → backward → forward → operation → buffers; all of them → layout.
mod adam;
mod backward;
mod buffers;
mod forward;
mod layout;
mod operation;
mod ops;

pub use adam::Adam;
pub use buffers::Buffers;
pub use operation::{Epilogue, Operation, Parameter, Parameters, Statistics};
pub use ops::fused;
