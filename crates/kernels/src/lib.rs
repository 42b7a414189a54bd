//! Fast CPU kernels for training and running neural networks: plain functions over `f32` slices.
//!
//! # What there is
//!
//! | operation | forward | backward |
//! | --- | --- | --- |
//! | convolution or dense layer; bias, residual and activation in the same pass | [`conv2d_forward`], [`PreparedConv2d`] | [`conv2d_backward`] |
//! | `ReLU`, `ReLU6` in the pass before them | [`Activation`] | [`activation_gradient`] |
//! | batch norm, residual, activation, max-pooling, dropout: one operation, each part optional | [`norm_pool_forward`] | [`NormPoolGradient`] |
//! | max-pooling alone | [`max_pool_forward`] | |
//! | average pooling | [`average_pool_forward`] | [`average_pool_backward`] |
//! | mean of an image | [`global_average_pool_forward`] | [`global_average_pool_backward`] |
//! | squeeze-and-excitation's product | [`channel_gate_forward`] | [`channel_gate_backward`] |
//! | products of matrices that lie anywhere, as in attention | [`matmul`] | |
//! | softmax of rows | [`softmax_forward`] | |
//! | layer norm | [`layer_norm_forward`] | [`layer_norm_backward`] |
//! | sigmoid, `SiLU`, hard-swish, GELU and the like | [`elementwise_forward`] | [`elementwise_backward`] |
//! | sum with activation | [`add()`] | [`activation_gradient`] |
//! | dropout alone | [`dropout`] | [`dropout`] |
//! | Adam: the optimizer's step | | [`adam()`] |
//! | channels first to channels last | [`nchw_to_nhwc`] | |
//!
//! A dense layer is a convolution of 1×1 images: [`Conv2d::dense`]. Sizes are checked once, by
//! `checked()`, which gives a shape that the kernels take; after that, only a slice of the wrong
//! length can fail, and panics.
//!
//! # Where things are
//!
//! | module | what it does |
//! | --- | --- |
//! | `conv` | convolution: sizes, tiles, packed weights, the passes |
//! | `norm_pool` | normalization, activation, pooling and dropout after it |
//! | `epilogue` | what the two above apply to their results: activation, residual |
//! | `max_pool`, `average_pool`, `channel_gate`, `layer_norm`, `elementwise`, `softmax`, `matmul`, `dropout`, `adam`, `layout` | one operation each |
//! | `micro` | the two loops in which the multiplying happens, and their tile sizes |
//! | `simd` | the vector operations that these loops are written in |
//! | `simd_level` | the choice of an instruction set, and functions compiled for each |
//! | `parallel` | tasks of the thread pool, and their buffers |
//!
//! # Layouts
//!
//! Activations are `[batch, height, width, channels]` ("NHWC", channels last), weights `[filters,
//! channels / groups, kernel rows, kernel columns]` as in ONNX and PyTorch. Channels last makes a
//! row of a convolution's window one piece of memory, so that the multiplying kernel reads the
//! input where it lies, without a copy of each window ("im2col"):
//!
//! ```text
//! a row of the input      x0          x1          x2          x3          x4
//! (C = 3 channels)     c0 c1 c2    c0 c1 c2    c0 c1 c2    c0 c1 c2    c0 c1 c2
//!
//! window of output 0   |<------- 3 columns × C floats ------->|
//! window of output 1               |<------- 3 columns × C floats ------->|         (C floats on: the stride between rows of A)
//!
//! weights, packed      panel 0: 32 filters       panel 1: 32 filters       …
//! once a call          k = 0   f0 f1 … f31       k = 0   f32 f33 … f63
//!                      k = 1   f0 f1 … f31       k = 1   f32 f33 … f63               (k: kernel row, kernel column, channel)
//!                      …                         …
//!
//! a tile               14 outputs × 32 filters, in 28 registers:   tile[i][f] = Σ_k  A[i][k] · panel[k][f]
//! ```
//!
//! The input gradient is the same product with the kernel reversed and channels and filters
//! exchanged. The weight gradient is `Σ_pixels A[pixel][k] · G[pixel][f]`, a tile of it 14
//! consecutive `k` × 32 filters, both operands again where they lie.
//!
//! Where the rows of a tile are the same pixel of several images instead of neighboring pixels,
//! taps that fall on padding are left out exactly; small images with much padding gain most. The
//! cheaper of the two is chosen from the sizes.
//!
//! Kernels of 3×3 and 5×5 with stride 1 take fewer multiplications where there are enough channels and filters, by Winograd's
//! minimal filtering, forward and in both gradients: 16 instead of 36 for 2×2 outputs, or 36 instead of 100. The rounding
//! error is 0.4 to 1.7 times as large.
//!
//! A depthwise convolution (as many groups as channels and filters) has no product in it: vectors hold
//! channels, and each tap is one multiply-add. [`conv2d_forward`] and [`conv2d_backward`] tell it by
//! its sizes.
//!
//! # Threads and results
//!
//! Work runs in the current rayon pool: bound the threads with `ThreadPool::install`. Each task's
//! share depends only on the number of threads, and sums over tasks are added in their order, so
//! that equal calls with as many threads give equal bits. [`on_one_thread`] keeps work on its thread. Buffers are kept by the threads from call
//! to call.
//!
//! All arithmetic is in f32, statistics and sums over a batch partly in f64. The instruction set is
//! chosen at run time: [`SimdLevel`]. Numbers that convolutions and dense layers multiply can be rounded to
//! bfloat16 first, where the CPU multiplies those: [`Products`].
//!
//! ```
//! use kiln_kernels::{Activation, Conv2d, Epilogue, conv2d_forward};
//!
//! let shape = Conv2d::new([1, 3, 3, 1], 1, [3, 3]).padded(1).checked()?;
//! let epilogue = Epilogue { bias: Some(&[0.5]), activation: Activation::Relu, ..Epilogue::default() };
//! let mut output = [0.0; 9];
//! conv2d_forward(&shape, &[1.0; 9], &[1.0; 9], &epilogue, &mut output);
//! assert_eq!(output, [4.5, 6.5, 4.5, 6.5, 9.5, 6.5, 4.5, 6.5, 4.5]);
//! # Ok::<(), kiln_kernels::ShapeError>(())
//! ```

#![allow(
    unsafe_code,
    reason = "SIMD intrinsics, and tasks that write interleaved parts of one slice"
)]
#![allow(
    clippy::inline_always,
    reason = "a body only uses a level's instructions where it is inlined into that level's function"
)]

mod adam;
mod average_pool;
mod ceilings;
mod channel_gate;
mod conv;
mod dropout;
mod elementwise;
mod epilogue;
mod error;
mod layer_norm;
mod layout;
mod matmul;
mod max_pool;
mod micro;
mod norm_pool;
mod parallel;
mod products;
mod simd;
mod simd_level;
mod softmax;

pub use adam::{Adam, adam};
pub use average_pool::{
    Divisor, average_pool_backward, average_pool_forward, global_average_pool_backward,
    global_average_pool_forward,
};
pub use ceilings::Ceilings;
pub use channel_gate::{channel_gate_backward, channel_gate_forward};
pub use conv::{
    Conv2d, Conv2dGradients, Conv2dShape, OutputGradient, PreparedConv2d, conv2d_backward,
    conv2d_forward,
};
pub use dropout::{Dropout, dropout};
pub use elementwise::{
    Elementwise, Steps, add, elementwise_backward, elementwise_forward, round_to_steps,
};
pub use epilogue::{Activation, Epilogue, activation_gradient};
pub use error::ShapeError;
pub use layer_norm::{LayerNorm, LayerNormGradients, layer_norm_backward, layer_norm_forward};
pub use layout::nchw_to_nhwc;
pub use matmul::{MatMul, MatMulShape, Matrix, matmul};
pub use max_pool::max_pool_forward;
pub use norm_pool::{
    Norm, NormPool, NormPoolGradient, NormPoolShape, NormPoolState, NormPoolSteps, Pool2d,
    Statistics, norm_pool_forward,
};
pub use parallel::on_one_thread;
pub use products::Products;
pub use simd_level::SimdLevel;
pub use softmax::softmax_forward;
