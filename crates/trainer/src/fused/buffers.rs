//! Buffers that a layer sequence uses again at every step.
//!
//! Activations of a batch take megabytes: allocating them at every step would cost page faults.

use std::sync::{Arc, Mutex, PoisonError};

use kiln_kernels::NormPoolState;

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
