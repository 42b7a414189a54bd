//! Buffers that are used again: those of a batch take megabytes, and allocating them at every step
//! would cost page faults.

use std::sync::{Arc, Mutex, PoisonError};

use kiln_kernels::NormPoolState;

/// Buffers that are not in use. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Pool(Arc<Mutex<Free>>);

#[derive(Debug, Default)]
struct Free {
    buffers: Vec<Vec<f32>>,
    states: Vec<NormPoolState>,
}

impl Pool {
    /// A buffer of this length with any content.
    pub fn take(&self, len: usize) -> Vec<f32> {
        let mut buffer = self.with(|free| {
            let fits = free.buffers.iter().enumerate();
            let best = fits
                .filter(|(_, buffer)| buffer.capacity() >= len)
                .min_by_key(|(_, buffer)| buffer.capacity())
                .map(|(at, _)| at);
            best.map(|at| free.buffers.swap_remove(at))
        });
        let buffer = buffer.get_or_insert_default();
        buffer.resize(len, 0.0);
        std::mem::take(buffer)
    }

    pub fn give(&self, buffer: Vec<f32>) {
        self.with(|free| free.buffers.push(buffer));
    }

    pub fn take_state(&self) -> NormPoolState {
        self.with(|free| free.states.pop()).unwrap_or_default()
    }

    pub fn give_state(&self, state: NormPoolState) {
        self.with(|free| free.states.push(state));
    }

    fn with<T>(&self, work: impl FnOnce(&mut Free) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
