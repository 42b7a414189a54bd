//! What one fused operation computes, from which parameters, and in which buffers.
//!
//! Activations of a batch take megabytes: allocating them at every step would cost page faults.

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, ExtensionType};
use burn::tensor::Tensor;
use kiln_kernels::{Activation, Conv2dShape, Dropout, NormPoolShape, NormPoolState};

/// One fused operation on a batch: a convolution with its activation, what follows it, or both.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Convolution, or a dense layer as one of 1×1 images.
    pub conv: Option<Conv2dShape>,
    /// Follows the convolution.
    pub activation: Activation,
    /// Follows the activation.
    pub epilogue: Option<Epilogue>,
    /// Buffers for the intermediates.
    pub buffers: Buffers,
}

/// Batch normalization, activation, max-pooling and dropout, in this order; each is optional.
#[derive(Debug, Clone)]
pub struct Epilogue {
    /// Sizes, with a window of 1×1 where nothing is pooled.
    pub shape: NormPoolShape,
    /// Added to the variance. Ignored without batch normalization.
    pub epsilon: f32,
    /// Source of mean and variance. Ignored without batch normalization.
    pub statistics: Statistics,
    /// Follows the normalization.
    pub activation: Activation,
    /// Mask, in training.
    pub dropout: Option<Dropout>,
}

/// Source of mean and variance in batch normalization.
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
    /// Returns it as the kernels take it.
    pub fn as_kernel(&self) -> kiln_kernels::Statistics<'_> {
        match self {
            Self::Batch => kiln_kernels::Statistics::Batch,
            Self::Running { mean, variance } => {
                kiln_kernels::Statistics::Running { mean, variance }
            }
        }
    }
}

/// A parameter that a layer may lack.
#[derive(ExtensionType)]
pub enum Parameter<B: Backend> {
    /// Parameter of the layer.
    Given(FloatTensor<B>),
    /// The layer has none.
    Absent,
}

/// The parameters of an operation's layers, as Burn's modules keep them.
#[derive(ExtensionType)]
pub struct Parameters<B: Backend> {
    /// Of a convolution, `[filters, channels, rows, columns]`, or of a dense layer, `[inputs,
    /// outputs]`.
    #[extension_type]
    pub weight: Parameter<B>,
    /// `[filters]`.
    #[extension_type]
    pub bias: Parameter<B>,
    /// Scale of batch normalization, `[channels]`.
    #[extension_type]
    pub gamma: Parameter<B>,
    /// Shift of batch normalization, `[channels]`.
    #[extension_type]
    pub beta: Parameter<B>,
}

impl<B: Backend> Parameter<B> {
    /// Returns the tensor, if there is one.
    pub fn given(self) -> Option<FloatTensor<B>> {
        match self {
            Self::Given(tensor) => Some(tensor),
            Self::Absent => None,
        }
    }

    /// Returns a reference to the tensor, if there is one.
    pub fn as_ref(&self) -> Option<&FloatTensor<B>> {
        match self {
            Self::Given(tensor) => Some(tensor),
            Self::Absent => None,
        }
    }
}

impl<const D: usize> From<Option<Tensor<D>>> for Parameter<Dispatch> {
    fn from(tensor: Option<Tensor<D>>) -> Self {
        tensor.map_or(Self::Absent, |tensor| Self::Given(tensor.into_dispatch()))
    }
}

/// The buffers of one layer sequence that are not in use. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Buffers(Arc<Mutex<Vec<Intermediates>>>);

/// What lies between a sequence's convolution and its epilogue; the backward pass needs it.
#[derive(Debug, Default)]
pub struct Intermediates {
    /// Output of the convolution, activation included, channels last.
    pub activations: Vec<f32>,
    /// What the epilogue keeps.
    pub state: NormPoolState,
}

/// [`Intermediates`] that go back when this is dropped.
#[derive(Debug)]
pub struct Loan {
    lent: Intermediates,
    home: Buffers,
}

impl Buffers {
    /// Lends buffers of any content and length.
    pub fn lend(&self) -> Loan {
        let lent = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
            .unwrap_or_default();
        Loan {
            lent,
            home: self.clone(),
        }
    }
}

impl std::ops::Deref for Loan {
    type Target = Intermediates;

    fn deref(&self) -> &Intermediates {
        &self.lent
    }
}

impl std::ops::DerefMut for Loan {
    fn deref_mut(&mut self) -> &mut Intermediates {
        &mut self.lent
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let lent = std::mem::take(&mut self.lent);
        self.home
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(lent);
    }
}
