//! The forward pass.

use std::ops::Range;

use crate::epilogue::{Activation, Epilogue};
use crate::micro::{KSpan, Kernels, Tile};
use crate::parallel::{Scratch, Shared, share};

use super::super::pack::{Panels, Pass};
use super::super::plan::Split;
use super::super::shape::Conv2dShape;
use super::micro::Finish;
use super::minimal::OUTPUTS;
use super::{Passes, Points, Tiling, pointers, weights};

/// A convolution with transformed weights.
pub(in super::super) struct Winograd {
    tiling: Tiling,
    /// Of one point.
    panels: Panels,
    /// The panels of each point.
    packed: Scratch,
}

impl Winograd {
    /// Transforms the weights, where this way is faster than the direct product; `None` where it is not.
    pub(in super::super) fn new(
        shape: &Conv2dShape,
        passes: Passes,
        weights: &[f32],
    ) -> Option<Self> {
        let tiling = Tiling::of(shape, passes)?;
        let panels = Panels::new(&tiling.kernels, tiling.channels, tiling.filters, 1);
        let packed = weights::pack(
            tiling.filtering,
            Pass::Forward,
            tiling.level,
            &panels,
            weights,
        );
        Some(Self {
            tiling,
            panels,
            packed,
        })
    }

    /// Panels of the weights.
    pub(in super::super) fn panels(&self) -> &Panels {
        &self.panels
    }

    /// Computes `batch` images. The bias is as long as a row of the panels, filled up like them.
    pub(in super::super) fn forward(
        &self,
        batch: usize,
        input: &[f32],
        epilogue: Epilogue,
        output: &mut [f32],
    ) {
        let Self {
            tiling,
            panels,
            packed,
        } = self;
        let [rows, columns] = tiling.output;
        assert_eq!(
            output.len(),
            batch * rows * columns * tiling.filters,
            "output"
        );
        assert!(
            epilogue.bias.is_none_or(|bias| bias.len() == panels.padded),
            "bias"
        );
        let tiles = batch * tiling.tiles();
        let split = Split::new(tiles * tiling.floats(), packed.len(), tiles, panels.count());
        let output = Shared::new(output);
        split.run(|task| {
            let range = task.part_of(panels.count());
            let count = task.images.len();
            // As even as possible.
            let blocks = count.div_ceil(tiling.block()).max(1);
            let rows = count.div_ceil(blocks);
            let mut before = Points::any(tiling, rows, tiling.channels);
            let mut after = Points::any(tiling, rows, tiling.filters);
            let zeros = Scratch::zeros(tiling.channels);
            for block in 0..blocks {
                let part = share(count, block, blocks);
                let tiles = task.images.start + part.start..task.images.start + part.end;
                tiling.spread_inputs(input, tiles.clone(), &mut before, &zeros);
                let right = (panels, &packed[..], range.clone());
                multiply(&tiling.kernels, tiles.len(), &before, right, &mut after);
                // SAFETY: tasks have different tiles or panels.
                unsafe { self.finish(tiles, range.clone(), &after, epilogue, output) }
            }
        });
    }

    /// # Safety
    ///
    /// No other thread may touch those tiles' outputs of those panels at the same time.
    unsafe fn finish(
        &self,
        tiles: Range<usize>,
        range: Range<usize>,
        after: &Points,
        Epilogue {
            bias,
            residual,
            activation,
        }: Epilogue,
        output: Shared<f32>,
    ) {
        if range.is_empty() {
            return;
        }
        let last = self.panels.panel(range.end - 1);
        let first = self.panels.panel(range.start).column;
        assert!(
            residual.is_none_or(|residual| residual.len() == output.len()),
            "residual"
        );
        let mut pixels = [std::ptr::null_mut(); OUTPUTS * OUTPUTS];
        for (row, tile) in tiles.enumerate() {
            pointers(output, &mut pixels, |each| {
                self.tiling
                    .outputs(tile, |at, start| each(at, start + first));
            });
            let tile = Finish {
                from: after.values[after.at(0, row) + first..].as_ptr(),
                stride: after.stride,
                bias: bias.map_or(std::ptr::null(), |bias| bias[first..].as_ptr()),
                residual: residual.map_or(std::ptr::null(), <[f32]>::as_ptr),
                activation,
                pixels: &pixels,
                start: output.pointer(0),
                channels: last.column + last.columns - first,
            };
            // SAFETY: the pixels are in the output, and nobody else's, as the caller promises; the points of the tile are
            // in `after`, in rows of whole vectors; the transform is for the current level.
            unsafe { (self.tiling.transforms.output)(&tile) }
        }
    }
}

/// The products of each point: `after = before · matrix`, of those panels of the matrices `[points][rows, columns]`.
pub(super) fn multiply(
    kernels: &Kernels,
    tiles: usize,
    before: &Points,
    (panels, packed, range): (&Panels, &[f32], Range<usize>),
    after: &mut Points,
) {
    let length = panels.rows;
    let spans = [KSpan { a: 0, b: 0, length }];
    assert!(
        tiles <= before.rows.min(after.rows) && before.row >= length && after.row >= panels.padded,
        "points"
    );
    for (point, packed) in packed.chunks_exact(panels.len()).enumerate() {
        for panel in range.clone().map(|index| panels.panel(index)) {
            for (row, rows) in kernels.tiles(tiles) {
                let to = after.at(point, row) + panel.column;
                let tile = Tile {
                    a: before.values[before.at(point, row)..].as_ptr(),
                    a_stride: before.row,
                    spans: &spans,
                    b: packed[panel.start..].as_ptr(),
                    bias: std::ptr::null(),
                    residual: std::ptr::null(),
                    activation: Activation::Linear,
                    c: after.values[to..].as_mut_ptr(),
                    c_stride: after.row,
                    columns: panel.padded,
                };
                // SAFETY: tiles and panels are inside the buffers, as asserted, and `after` is this task's.
                unsafe { kernels.inner(rows, &tile) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::shape::Conv2d;
    use super::super::minimal::Filtering;
    use super::*;

    #[test]
    fn it_is_taken_where_it_saves_multiplications() {
        let filtering = |sizes: Conv2d| {
            let tiling = Tiling::of(&sizes.checked().unwrap(), Passes::Many);
            tiling.map(|tiling| tiling.filtering)
        };
        let sizes = Conv2d::new([1, 14, 14, 64], 64, [3; 2]).padded(1);
        assert_eq!(filtering(sizes), Some(Filtering::Size2x3));
        let large = Conv2d {
            kernel: [5; 2],
            ..sizes
        };
        assert_eq!(filtering(large), Some(Filtering::Size2x5));
        let none = [
            Conv2d {
                stride: [2; 2],
                ..sizes
            },
            Conv2d {
                dilation: [1, 2],
                ..sizes
            },
            Conv2d { groups: 2, ..sizes },
            Conv2d {
                kernel: [3, 5],
                ..sizes
            },
            Conv2d {
                kernel: [1; 2],
                ..sizes
            },
            Conv2d {
                channels: 3,
                filters: 4,
                ..sizes
            },
            // What is left of the window without padding are 4 taps.
            Conv2d {
                height: 2,
                width: 2,
                ..sizes
            },
        ];
        for sizes in none {
            assert_eq!(filtering(sizes), None, "{sizes:?}");
        }
    }

    #[test]
    fn for_one_pass_the_images_must_be_worth_the_weights() {
        let is_taken = |batch| {
            let sizes = Conv2d::new([batch, 4, 4, 512], 512, [3; 2]).padded(1);
            Tiling::of(&sizes.checked().unwrap(), Passes::One).is_some()
        };
        assert_eq!([1, 32, 128].map(is_taken), [false, false, true]);
    }
}
