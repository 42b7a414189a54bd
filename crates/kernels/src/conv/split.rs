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

impl Split {
    /// Divides the images where they are the larger operand, so that each thread reads a share of them and all weights;
    /// otherwise (or where there are too few images) the weights.
    pub(crate) fn new(activations: usize, weights: usize, batch: usize, panels: usize) -> Self {
        let threads = parallel::threads_for(activations.saturating_add(weights));
        let whole = Self { batch, images: 1, parts: 1 };
        let by_images = Self { images: threads.min(batch), ..whole };
        let by_panels = Self { parts: threads.min(panels), ..whole };
        if by_images.images > by_panels.parts || (by_images.images == by_panels.parts && activations >= weights) {
            by_images
        } else {
            by_panels
        }
    }

    pub(crate) fn tasks(&self) -> usize {
        self.images * self.parts
    }

    /// Runs `work(images, part, parts)` for each task in parallel.
    pub(crate) fn run(&self, work: impl Fn(Range<usize>, usize, usize) + Sync) {
        parallel::tasks(self.tasks(), |task, _| {
            work(share(self.batch, task / self.parts, self.images), task % self.parts, self.parts);
        });
    }
}
