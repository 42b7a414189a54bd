//! The gradients of input, weights and bias: those of what the forward pass computes, step by step.
//!
//! ```text
//! input    ──▶  points [tiles, channels] ──┐
//!                                          ├─▶  gradients of the weights' points, summed over tiles  ──▶  of the weights
//! gradient ──▶  points [tiles, filters]  ──┤
//!                                          └─▶  · weights, transposed  ──▶  what a tile adds to its inputs' gradient
//! ```
//!
//! Each task has images of its own, so that tiles which overlap are added in their order, and sums of its own, which are
//! added up in the tasks' order: equal calls with as many threads give equal bits.

use std::ops::Range;

use crate::micro::{Outer, Walk};
use crate::parallel::{self, Scratch, Shared, share};

use super::super::geometry::Layout;
use super::super::output_gradient::{Conv2dGradients, OutputGradient, add_shares};
use super::super::pack::{Panels, Pass};
use super::super::shape::Conv2dShape;
use super::forward::multiply;
use super::micro::Gather;
use super::{Passes, Points, Tiling, pointers, weights};

/// How a convolution's gradients are computed.
pub(in super::super) struct WinogradGradients {
    tiling: Tiling,
    tasks: usize,
}

/// The weights for the input gradient.
struct Transposed {
    panels: Panels,
    packed: Scratch,
}

impl WinogradGradients {
    /// Returns how, where it is worth while, and there are enough images for all threads.
    pub(in super::super) fn of(shape: &Conv2dShape) -> Option<Self> {
        let tiling = Tiling::of(shape, Passes::One)?;
        let tasks = parallel::threads_for(shape.input_len() + shape.output_len());
        // Each task sums gradients of all weights: it must have more to add than that.
        let added = shape.batch * tiling.tiles() * (tiling.channels + tiling.filters);
        let sums = tasks * tiling.channels * tiling.filters;
        (shape.batch >= tasks && added >= sums).then_some(Self { tiling, tasks })
    }

    /// Computes the gradients as [`conv2d_backward`](crate::conv2d_backward) does.
    pub(in super::super) fn backward(
        &self,
        shape: &Conv2dShape,
        input: &[f32],
        weights: &[f32],
        gradient: &OutputGradient,
        gradients: Conv2dGradients,
    ) {
        let Self { tiling, tasks } = self;
        let (level, filtering) = (tiling.level, tiling.filtering);
        let Conv2dGradients {
            input: to_input,
            weights: to_weights,
            bias: to_bias,
        } = gradients;
        let to_input = to_input.map(|to| {
            let panels = Panels::new(&tiling.kernels, tiling.filters, tiling.channels, 1);
            let packed = weights::pack(filtering, Pass::InputGradient, level, &panels, weights);
            (Transposed { panels, packed }, Shared::new(to))
        });
        let panels = Panels::new(&tiling.kernels, tiling.channels, tiling.filters, 1);
        let share_len = tiling.points() * panels.len();
        let mut weight_sums = Scratch::any(if to_weights.is_some() {
            share_len * tasks
        } else {
            0
        });
        let mut bias_sums = vec![0.0_f64; tiling.filters * tasks];
        let all_weight_sums = to_weights.is_some().then(|| Shared::new(&mut weight_sums));
        let all_bias_sums = Shared::new(&mut bias_sums);

        let layout = Layout::plain(shape);
        let image_in = input.len() / shape.batch;
        let most = self.block();
        let group = most.div_ceil(tiling.tiles());
        parallel::tasks(*tasks, |task, tasks| {
            let images = share(shape.batch, task, tasks);
            let group = group.min(images.len());
            // SAFETY: each task has its own.
            let bias_sums = unsafe { all_bias_sums.slice(task * tiling.filters, tiling.filters) };
            let mut weight_sums = all_weight_sums.map(|all| {
                // SAFETY: as above.
                unsafe { all.slice(task * share_len, share_len) }
            });
            if let Some(sums) = &mut weight_sums {
                sums.fill(0.0);
            }
            let mut image_sums = Scratch::any(tiling.filters);
            let mut buffer = Scratch::any(group * layout.image);
            let rows = most.min(group * tiling.tiles());
            let mut of_gradient = Points::any(tiling, rows, tiling.filters);
            let mut of_input = Points::any(tiling, rows, tiling.channels);
            let zeros = Scratch::zeros(tiling.filters.max(tiling.channels));
            for first in images.clone().step_by(group) {
                let count = group.min(images.end - first);
                let buffers = buffer.chunks_exact_mut(layout.image);
                for (image, buffer) in (first..first + count).zip(buffers) {
                    gradient.write_image(level, shape, image, layout, buffer, &mut image_sums);
                    for (total, &sum) in bias_sums.iter_mut().zip(image_sums.iter()) {
                        *total += f64::from(sum);
                    }
                }
                if let Some((_, to)) = &to_input {
                    // SAFETY: each image is one task's.
                    unsafe { to.slice(first * image_in, count * image_in) }.fill(0.0);
                }
                let tiles = count * tiling.tiles();
                let blocks = tiles.div_ceil(most);
                for part in (0..blocks).map(|block| share(tiles, block, blocks)) {
                    tiling.spread_gradient(&buffer, part.clone(), &mut of_gradient, &zeros);
                    if let Some(sums) = &mut weight_sums {
                        let input = &input[first * image_in..];
                        tiling.spread_inputs(input, part.clone(), &mut of_input, &zeros);
                        self.add_products(&panels, part.len(), (&of_input, &of_gradient), sums);
                    }
                    if let Some((Transposed { panels, packed }, to)) = &to_input {
                        let all = (panels, &packed[..], 0..panels.count());
                        multiply(
                            &tiling.kernels,
                            part.len(),
                            &of_gradient,
                            all,
                            &mut of_input,
                        );
                        // SAFETY: as above.
                        unsafe {
                            self.gather(
                                part,
                                &of_input,
                                to.part(first * image_in, count * image_in),
                            );
                        }
                    }
                }
            }
        });

        if let Some(to) = to_weights {
            weights::unpack(filtering, level, &panels, &weight_sums, to);
        }
        if let Some(to) = to_bias {
            add_shares(&bias_sums, to);
        }
    }

    /// Tiles at a time: the more, the less often the sums of weights, which do not fit into the cache, are read.
    fn block(&self) -> usize {
        let Tiling {
            channels, filters, ..
        } = self.tiling;
        self.tiling
            .block()
            .max(channels * filters / (channels + filters) / 2)
    }

    /// Adds `inputsᵀ · gradients` of each point, over some tiles, to `sums`.
    fn add_products(
        &self,
        panels: &Panels,
        tiles: usize,
        (inputs, gradients): (&Points, &Points),
        sums: &mut [f32],
    ) {
        let kernels = &self.tiling.kernels;
        assert!(
            tiles <= inputs.rows.min(gradients.rows)
                && inputs.row >= panels.rows
                && gradients.row >= panels.padded,
            "points"
        );
        let once = Walk {
            count: 1,
            a: 0,
            b: 0,
        };
        for (point, sums) in sums.chunks_exact_mut(panels.len()).enumerate() {
            for panel in (0..panels.count()).map(|index| panels.panel(index)) {
                for (row, rows) in kernels.tiles(panels.rows) {
                    let outer = Outer {
                        a: inputs.values[inputs.at(point, 0) + row..].as_ptr(),
                        b: gradients.values[gradients.at(point, 0) + panel.column..].as_ptr(),
                        images: once,
                        height: once,
                        width: Walk {
                            count: tiles,
                            a: inputs.row,
                            b: gradients.row,
                        },
                        c: sums[panel.start + row * panel.padded..].as_mut_ptr(),
                        c_stride: panel.padded,
                        accumulate: true,
                    };
                    // SAFETY: rows and panels are inside the buffers, as asserted, in whole vectors.
                    unsafe { kernels.outer(rows, panel.columns, &outer) }
                }
            }
        }
    }

    /// Adds what `tiles` come to, to the gradient of their inputs.
    ///
    /// # Safety
    ///
    /// No other thread may touch the images at the same time.
    unsafe fn gather(&self, tiles: Range<usize>, points: &Points, to: Shared<f32>) {
        let tiling = &self.tiling;
        let mut pixels = vec![std::ptr::null_mut(); tiling.points()];
        for (row, tile) in tiles.enumerate() {
            pointers(to, &mut pixels, |each| tiling.inputs(tile, each));
            let tile = Gather {
                from: points.values[points.at(0, row)..].as_ptr(),
                stride: points.stride,
                pixels: &pixels,
                channels: tiling.channels,
            };
            // SAFETY: the pixels are in the images, and nobody else's, as the caller promises; the points of the tile are
            // in `points`, in rows of whole vectors; the transform is for the current level.
            unsafe { (tiling.transforms.input_gradient)(&tile) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::shape::Conv2d;
    use super::*;

    #[test]
    fn it_is_taken_where_each_thread_has_enough_images() {
        let is_taken = |threads, sizes: Conv2d| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let shape = sizes.checked().unwrap();
            pool.unwrap()
                .install(|| WinogradGradients::of(&shape).is_some())
        };
        let sizes = Conv2d::new([8, 14, 14, 32], 32, [3; 2]).padded(1);
        assert_eq!(
            [1, 8, 9].map(|threads| is_taken(threads, sizes)),
            [true, true, false]
        );
        let few_tiles = Conv2d::new([128, 4, 4, 256], 256, [3; 2]).padded(1);
        assert_eq!(
            [1, 2, 16].map(|threads| is_taken(threads, few_tiles)),
            [true, true, false]
        );
    }
}
