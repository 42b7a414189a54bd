//! Work for the threads of the current rayon pool, in shares that depend only on their number.

use std::marker::PhantomData;
use std::ops::Range;

/// Elements below which a second thread costs more than it saves.
const WORTH_A_THREAD: usize = 16 * 1024;

/// Threads for work on `elements` elements: 1, or all of the current pool.
pub(crate) fn threads_for(elements: usize) -> usize {
    if elements < 2 * WORTH_A_THREAD {
        1
    } else {
        rayon::current_num_threads()
    }
}

/// Runs `work(task, tasks)` for each of `tasks` tasks.
pub(crate) fn tasks(tasks: usize, work: impl Fn(usize, usize) + Sync) {
    match tasks {
        0 => {}
        1 => work(0, 1),
        _ => rayon::scope(|scope| {
            let work = &work;
            for task in 1..tasks {
                scope.spawn(move |_| work(task, tasks));
            }
            work(0, tasks);
        }),
    }
}

/// The part of `0..count` that is task `task`'s.
pub(crate) fn share(count: usize, task: usize, tasks: usize) -> Range<usize> {
    count * task / tasks..count * (task + 1) / tasks
}

/// A slice of which several tasks write different parts.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a, T> {
    start: *mut T,
    length: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: it only gives out parts through `unsafe` functions, whose callers keep the parts apart.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            length: slice.len(),
            slice: PhantomData,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// `length` elements from `start` on.
    ///
    /// # Safety
    ///
    /// No two parts in use at the same time may overlap.
    pub(crate) unsafe fn slice(&self, start: usize, length: usize) -> &'a mut [T] {
        assert!(
            start <= self.length && length <= self.length - start,
            "a part must lie inside its slice"
        );
        // SAFETY: inside the slice, which outlives 'a; the caller keeps parts apart.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), length) }
    }

    /// The part of `length` elements from `start` on, itself shared.
    pub(crate) fn part(&self, start: usize, length: usize) -> Self {
        assert!(
            start <= self.length && length <= self.length - start,
            "a part must lie inside its slice"
        );
        Self {
            start: self.start.wrapping_add(start),
            length,
            slice: PhantomData,
        }
    }

    /// A pointer to element `start`, valid for what the caller may write.
    pub(crate) fn pointer(&self, start: usize) -> *mut T {
        assert!(start <= self.length, "a part must lie inside its slice");
        self.start.wrapping_add(start)
    }
}
