//! How a convolution is divided among threads.

use crate::parallel::{self, share};
use std::ops::Range;

/// Tasks: shares of the images times shares of the weights' panels, one of the two being whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Split {
    pub batch: usize,
    /// Shares of the images.
    pub images: usize,
    /// Shares of the panels.
    pub parts: usize,
}

/// One task's work.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    /// Which share of the images.
    pub index: usize,
    /// Its images.
    pub images: Range<usize>,
    /// Which share of the panels, of how many.
    pub part: usize,
    pub parts: usize,
}

impl Share {
    /// This task's part of `0..count`.
    pub(crate) fn part_of(&self, count: usize) -> Range<usize> {
        share(count, self.part, self.parts)
    }
}

impl Split {
    /// Divides the images where they are the larger operand, so that each thread reads a share of
    /// them and all weights; otherwise (or where there are too few images) the weights.
    pub(crate) fn new(activations: usize, weights: usize, batch: usize, panels: usize) -> Self {
        let threads = parallel::threads_for(activations.saturating_add(weights));
        let whole = Self {
            batch,
            images: 1,
            parts: 1,
        };
        let by_images = Self {
            images: threads.min(batch),
            ..whole
        };
        let by_panels = Self {
            parts: threads.min(panels),
            ..whole
        };
        if by_images.images > by_panels.parts
            || (by_images.images == by_panels.parts && activations >= weights)
        {
            by_images
        } else {
            by_panels
        }
    }

    /// Runs `work` for each task in parallel.
    pub(crate) fn run(&self, work: impl Fn(Share) + Sync) {
        parallel::tasks(self.images * self.parts, |task, _| {
            let (index, part) = (task / self.parts, task % self.parts);
            work(Share {
                index,
                images: share(self.batch, index, self.images),
                part,
                parts: self.parts,
            });
        });
    }
}
