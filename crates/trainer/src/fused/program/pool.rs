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
        let found = self.with(|free| smallest(&mut free.buffers, len, Vec::capacity));
        let mut buffer = found.unwrap_or_default();
        buffer.resize(len, 0.0);
        buffer
    }

    pub fn give(&self, buffer: Vec<f32>) {
        self.with(|free| free.buffers.push(buffer));
    }

    /// A state for outputs of this length. One of another step, had it to grow, would stay that large:
    /// in time all of them would be as large as the largest.
    pub fn take_state(&self, outputs: usize) -> NormPoolState {
        let found = self.with(|free| smallest(&mut free.states, outputs, NormPoolState::capacity));
        found.unwrap_or_default()
    }

    pub fn give_state(&self, state: NormPoolState) {
        if state.capacity() > 0 {
            self.with(|free| free.states.push(state));
        }
    }

    /// How many numbers the free buffers have room for.
    #[cfg(test)]
    pub fn room(&self) -> usize {
        self.with(|free| free.buffers.iter().map(Vec::capacity).sum())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Free) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Takes out the smallest that has at least this capacity.
fn smallest<T>(free: &mut Vec<T>, least: usize, capacity: impl Fn(&T) -> usize) -> Option<T> {
    let found = (0..free.len())
        .filter(|&at| capacity(&free[at]) >= least)
        .min_by_key(|&at| capacity(&free[at]))?;
    Some(free.swap_remove(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_where_it_is_large_enough_and_none_grows() {
        let pool = Pool::default();
        for len in [4, 100, 10] {
            pool.give(Vec::with_capacity(len));
        }
        assert_eq!(pool.take(7).capacity(), 10);
        assert_eq!(pool.take(5).capacity(), 100);
        // The one of 4 stays what it is.
        assert!(pool.take(50).capacity() >= 50);
        assert_eq!(pool.take(3).capacity(), 4);
    }
}
