//! Buffers that a thread keeps from call to call, so that a training step allocates (and
//! page-faults) only the first time.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// A cache line: the unit of a buffer's length, and its alignment.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

thread_local! {
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Buffers that a thread keeps at most.
const KEPT: usize = 16;

/// Floats on loan from the current thread's free buffers, aligned to 64 bytes; they go back when it
/// is dropped.
pub(crate) struct Scratch {
    lines: Vec<Line>,
    length: usize,
}

impl Scratch {
    /// `length` floats of any content.
    pub(crate) fn any(length: usize) -> Self {
        let lines_needed = length.div_ceil(16);
        let mut lines = FREE.with_borrow_mut(|free| {
            // The smallest that suffices, else the largest, which then grows.
            let best = (0..free.len()).min_by_key(|&i| {
                (
                    free[i].len() < lines_needed,
                    free[i].len().abs_diff(lines_needed),
                )
            });
            best.map(|i| free.swap_remove(i)).unwrap_or_default()
        });
        if lines.len() < lines_needed {
            lines.resize(lines_needed, Line([0.0; 16]));
        }
        Self { lines, length }
    }

    /// `length` zeros.
    pub(crate) fn zeros(length: usize) -> Self {
        let mut scratch = Self::any(length);
        scratch.fill(0.0);
        scratch
    }
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `Line` is 16 floats without padding, and there are enough lines.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        // A thread that is ending has no free list any more; the buffer is then freed.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < KEPT {
                free.push(lines);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again() {
        let first = Scratch::any(1000);
        let address = first.as_ptr();
        assert_eq!(address as usize % 64, 0);
        drop(first);
        let second = Scratch::zeros(990);
        assert_eq!(second.as_ptr(), address);
        assert!(second.iter().all(|&x| x == 0.0));
    }
}
