//! Depthwise convolution: each channel with a filter of its own.
//!
//! There is no product of matrices in it. With channels last, a vector holds as many channels of one
//! pixel, and one tap of the kernel is one multiply-add with as many weights: input, weights and
//! output are read where they lie, and only the weights are transposed, to `[tap][channel]`. With 9
//! or 25 multiply-adds for each value read, the passes are bound by memory.
//!
//! | to find | look in |
//! | --- | --- |
//! | the loops over channels | `micro` |
//! | the forward pass | `forward` |
//! | both gradients in one pass | `backward` |

mod backward;
mod forward;
mod micro;

pub(super) use backward::depthwise_backward;
pub(super) use forward::PreparedDepthwise;

use crate::parallel::Scratch;

use super::shape::Conv2dShape;

/// Whether these kernels are for `shape`: every channel is a group with one filter.
pub(super) fn is_depthwise(shape: &Conv2dShape) -> bool {
    shape.groups > 1 && shape.groups == shape.channels && shape.filters == shape.channels
}

/// Weights `[channel][tap]` as `[tap][channel]`.
fn transpose_weights(shape: &Conv2dShape, weights: &[f32]) -> Scratch {
    let (channels, taps) = (shape.channels, shape.taps());
    let mut transposed = Scratch::any(weights.len());
    for (tap, to) in transposed.chunks_exact_mut(channels).enumerate() {
        for (to, from) in to.iter_mut().zip(weights[tap..].iter().step_by(taps)) {
            *to = *from;
        }
    }
    transposed
}
