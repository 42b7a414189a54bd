//! What one fused operation computes.

use std::sync::Arc;

use kiln_kernels::{Activation, Conv2dShape, Dropout, NormPoolShape};

use super::Buffers;

/// One fused operation on a batch: a convolution with its activation, what follows it, or both.
#[derive(Debug, Clone)]
pub struct Operation {
    /// The convolution, or a dense layer as one of 1×1 images.
    pub conv: Option<Conv2dShape>,
    /// Follows the convolution.
    pub activation: Activation,
    /// Follows the activation.
    pub tail: Option<Tail>,
    /// Where buffers come from, and go back to.
    pub buffers: Buffers,
}

/// Batch normalisation, max-pooling and dropout, in this order; each is optional.
#[derive(Debug, Clone)]
pub struct Tail {
    /// Sizes, with a window of 1×1 where nothing is pooled.
    pub shape: NormPoolShape,
    /// Added to the variance. Of no account without normalisation.
    pub epsilon: f32,
    /// What is normalised by. Of no account without normalisation.
    pub statistics: Statistics,
    /// The mask, while training.
    pub dropout: Option<Dropout>,
}

/// Where a normalisation's mean and variance come from.
#[derive(Debug, Clone)]
pub enum Statistics {
    /// The batch.
    Batch,
    /// These averages, `[channels]` each.
    Running {
        /// Means.
        mean: Arc<[f32]>,
        /// Variances.
        variance: Arc<[f32]>,
    },
}

impl Statistics {
    /// As the kernels take them.
    pub fn as_kernel(&self) -> kiln_kernels::Statistics<'_> {
        match self {
            Self::Batch => kiln_kernels::Statistics::Batch,
            Self::Running { mean, variance } => {
                kiln_kernels::Statistics::Running { mean, variance }
            }
        }
    }
}
