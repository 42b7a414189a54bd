//! Work for the threads of the current rayon pool, in shares that depend only on their number, and
//! buffers that a thread keeps from call to call, so that a training step allocates (and
//! page-faults) only the first time.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};

/// Elements below which a second thread costs more than it saves.
const WORTH_A_THREAD: usize = 16 * 1024;

thread_local! {
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` with every kernel that it calls on this thread alone, whatever pool it is in: where other threads
/// have work of their own.
pub fn on_one_thread<R>(work: impl FnOnce() -> R) -> R {
    /// Puts back what was, also when the work panics.
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            ALONE.set(self.0);
        }
    }
    let _restore = Restore(ALONE.replace(true));
    work()
}

/// Threads for work on `elements` elements: 1, or all of the current pool.
pub(crate) fn threads_for(elements: usize) -> usize {
    if elements < 2 * WORTH_A_THREAD || ALONE.get() {
        1
    } else {
        rayon::current_num_threads()
    }
}

/// How much less work it is to do next to nothing with an element.
pub(crate) const LIGHT: usize = 8;

/// The same for work that does next to nothing with each element but read and write it: of so many more elements, waking
/// a thread, which takes some twenty microseconds, is worth while.
pub(crate) fn threads_for_light(elements: usize) -> usize {
    threads_for(elements / LIGHT)
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
    fn work_alone_stays_on_its_thread_even_if_it_panics() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build();
        pool.unwrap().install(|| {
            let threads = || threads_for(1 << 20);
            assert_eq!(threads(), 3);
            assert_eq!(on_one_thread(threads), 1);
            let _ = std::panic::catch_unwind(|| on_one_thread(|| panic!("work failed")));
            assert_eq!(threads(), 3);
        });
    }

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
