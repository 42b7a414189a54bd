//! Buffers that a layer sequence uses again at every step.

use std::sync::{Arc, Mutex, PoisonError};

use kiln_kernels::NormPoolState;

/// The buffers of one layer sequence that are not in use. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Buffers(Arc<Mutex<Vec<Intermediate>>>);

/// What stands between a sequence's convolution and what follows it; the backward pass needs it.
#[derive(Debug, Default)]
pub struct Intermediate {
    /// The convolution's output, activation included, channels last.
    pub activations: Vec<f32>,
    /// What normalisation, pooling and dropout keep.
    pub state: NormPoolState,
}

/// An [`Intermediate`] that goes back when it is dropped.
#[derive(Debug)]
pub struct Loan {
    lent: Intermediate,
    home: Buffers,
}

impl Buffers {
    /// Buffers of any content and length.
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
    type Target = Intermediate;

    fn deref(&self) -> &Intermediate {
        &self.lent
    }
}

impl std::ops::DerefMut for Loan {
    fn deref_mut(&mut self) -> &mut Intermediate {
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
