use super::pack::pack_transposed;
use super::panels::Panels;
use super::plan::{Plan, Weights};
use super::problem::Problem;
use super::shape::Conv2dShape;
use super::split::{Share, Split};
use crate::micro::Kernels;
use crate::parallel::Shared;
use crate::scratch::Scratch;

/// The input gradient: a convolution of the output's gradient with the kernel reversed, channels
/// and filters exchanged.
pub(super) struct InputGradient<'a> {
    pub plan: Plan,
    panels: Panels,
    packed: Scratch,
    to: Shared<'a, f32>,
}

impl<'a> InputGradient<'a> {
    pub(super) fn new(
        shape: &Conv2dShape,
        kernels: &Kernels,
        weights: &[f32],
        panels: Panels,
        split: &Split,
        to: &'a mut [f32],
    ) -> Self {
        assert_eq!(to.len(), shape.input_len(), "conv2d: input gradient");
        let mut packed = Scratch::any(panels.len());
        pack_transposed(shape, &panels, weights, &mut packed);
        let plan = Plan::new(
            &Problem::transposed(shape),
            kernels,
            shape.batch.div_ceil(split.images),
        );
        Self {
            plan,
            panels,
            packed,
            to: Shared::new(to),
        }
    }

    /// Computes the task's part of `images` (first and count), whose gradient is in `buffer` in the
    /// plan's layout.
    ///
    /// # Safety
    ///
    /// No other task may have the same images and part.
    pub(super) unsafe fn run(
        &self,
        kernels: &Kernels,
        buffer: &[f32],
        task: &Share,
        images: (usize, usize),
    ) {
        let range = task.part_of(self.panels.count());
        let weights = Weights {
            panels: &self.panels,
            packed: &self.packed,
            bias: None,
            relu: false,
        };
        // SAFETY: as the caller promises.
        unsafe {
            self.plan
                .run(kernels, buffer, &weights, range, self.to, images)
        }
    }
}
