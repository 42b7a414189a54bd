//! How a convolution (or its transpose) is cut into tiles for the inner-product kernel.

use super::axis::{Axis, Sliding};
use super::panels::Panels;
use super::problem::{Layout, Problem};
use crate::micro::{Kernels, Run, Tile};
use crate::parallel::Shared;
use std::ops::Range;

/// What the rows of a tile are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Neighbouring pixels of one output row. Padding across must be in the source as zeros.
    Pixels,
    /// The same pixel of several images. Padding is left out of the sums exactly, and costs
    /// nothing.
    Images,
}

/// Tiles of a [`Problem`].
pub(crate) struct Plan {
    pub order: Order,
    /// Where the tiles expect the source.
    pub layout: Layout,
    /// Whether that differs from a plain `[images, height, width, channels]`.
    pub buffered: bool,
    target: [usize; 3],
    source_channels: usize,
    /// Length of the sum, padding included.
    rows: usize,
    /// Distance between a tile's rows in the source.
    stride: usize,
    /// Floats of an image, from its start, that tiles read.
    reach: usize,
    runs: Vec<Run>,
    /// The runs of each output row ([`Order::Pixels`]) or pixel ([`Order::Images`]).
    ranges: Vec<Range<usize>>,
}

/// The right-hand side of the product, and what follows it.
#[derive(Clone, Copy)]
pub(crate) struct Weights<'a> {
    pub panels: &'a Panels,
    pub packed: &'a [f32],
    /// As long as a row of all panels, filled up like them.
    pub bias: Option<&'a [f32]>,
    pub relu: bool,
}

/// Source bytes to work on at a time, so that they stay in a 1 MiB L2 cache beside a panel of
/// weights.
const GROUP_BYTES: usize = 384 * 1024;

/// What a tile costs beside its multiply-adds, in rows: loading B.
const TILE_OVERHEAD: usize = 2;

impl Plan {
    /// Chooses the cheaper order for tasks of `images` images.
    pub(crate) fn new(problem: &Problem, kernels: &Kernels, images: usize) -> Self {
        let cost = |rows: usize| rows + TILE_OVERHEAD * rows.div_ceil(kernels.rows);
        let taps = |axis: &Axis| axis.taps.iter().map(Vec::len).sum::<usize>();
        let by_images = taps(&problem.y) * taps(&problem.x) * cost(images);
        let by_pixels = taps(&problem.y) * problem.x.kernel * cost(problem.target[1]) * images;
        match problem.x.sliding {
            Some(sliding) if by_pixels <= by_images => Self::by_pixels(problem, sliding),
            _ => Self::by_images(problem),
        }
    }

    /// Tiles of neighbouring pixels.
    pub(crate) fn by_pixels(problem: &Problem, sliding: Sliding) -> Self {
        let [height, width, channels] = problem.source;
        let padded = if sliding.before == 0 && sliding.padded <= width {
            width
        } else {
            sliding.padded.max(sliding.before + width)
        };
        let layout = Layout {
            image: height * padded * channels,
            row: padded * channels,
            before: sliding.before * channels,
        };
        let across: Vec<(usize, usize)> = (0..problem.x.kernel)
            .map(|k| (k, k * sliding.dilation))
            .collect();
        let mut plan = Self::empty(problem, Order::Pixels, layout, padded != width);
        plan.stride = sliding.step * channels;
        for down in &problem.y.taps {
            plan.push(problem, down, &across);
        }
        plan.reach += (problem.target[1] - 1) * plan.stride;
        plan
    }

    /// Tiles of one pixel in several images.
    pub(crate) fn by_images(problem: &Problem) -> Self {
        let [height, width, channels] = problem.source;
        let plain = height * width * channels;
        // Rows a multiple of 2 KiB apart share two sets of a 32 KiB L1 cache: the lines of 14 of
        // them crowd each other out.
        let skew = if plain.is_multiple_of(512) { 16 } else { 0 };
        let layout = Layout {
            image: plain + skew,
            row: width * channels,
            before: 0,
        };
        let mut tiles = Self::empty(problem, Order::Images, layout, skew != 0);
        tiles.stride = layout.image;
        for down in &problem.y.taps {
            for across in &problem.x.taps {
                tiles.push(problem, down, across);
            }
        }
        tiles
    }

    fn empty(problem: &Problem, order: Order, layout: Layout, buffered: bool) -> Self {
        let (runs, ranges) = (Vec::new(), Vec::new());
        let source_channels = problem.source[2] / problem.groups;
        let rows = problem.y.kernel * problem.x.kernel * source_channels;
        Self {
            order,
            layout,
            buffered,
            target: problem.target,
            source_channels,
            rows,
            stride: 0,
            reach: 0,
            runs,
            ranges,
        }
    }

    /// Adds the runs of one range: taps that are neighbours in source and kernel alike become one
    /// run.
    fn push(&mut self, problem: &Problem, down: &[(usize, usize)], across: &[(usize, usize)]) {
        let start = self.runs.len();
        let length = self.source_channels;
        for &(ky, y) in down {
            for &(kx, x) in across {
                let a = y * self.layout.row + x * problem.source[2];
                let b = (ky * problem.x.kernel + kx) * length;
                match self.runs[start..].last_mut() {
                    Some(last) if last.a + last.length == a && last.b + last.length == b => {
                        last.length += length
                    }
                    _ => self.runs.push(Run { a, b, length }),
                }
            }
        }
        let end = self.runs[start..]
            .iter()
            .map(|run| run.a + run.length)
            .max()
            .unwrap_or(0);
        self.reach = self.reach.max(end + (problem.groups - 1) * length);
        self.ranges.push(start..self.runs.len());
    }

    /// Images to work on at a time.
    pub(crate) fn group(&self, kernels: &Kernels, images: usize) -> usize {
        let fitting = GROUP_BYTES / (self.layout.image * size_of::<f32>()).max(1);
        let least = if self.order == Order::Images {
            kernels.rows
        } else {
            1
        };
        let group = fitting.max(least).min(images).max(1);
        // Groups as even as possible.
        images.div_ceil(images.div_ceil(group).max(1)).max(1)
    }

    /// Computes the panels `range` of `images` images from `source`, in this plan's layout, to
    /// image `first` on of `target`.
    ///
    /// # Safety
    ///
    /// No other thread may touch those panels' columns of those images at the same time.
    pub(crate) unsafe fn run(
        &self,
        kernels: &Kernels,
        source: &[f32],
        weights: &Weights,
        range: Range<usize>,
        target: Shared<f32>,
        (first, images): (usize, usize),
    ) {
        let Weights {
            panels,
            packed,
            bias,
            relu,
        } = *weights;
        let [height, width, channels] = self.target;
        assert!(
            packed.len() == panels.len() && panels.rows == self.rows,
            "packed weights"
        );
        assert!(
            bias.is_none_or(|bias| bias.len() == panels.padded * panels.groups),
            "bias"
        );
        assert!(
            source.len() >= (images - 1) * self.layout.image + self.reach,
            "source"
        );
        let length = height * width * channels;
        assert!(target.len() >= (first + images) * length, "target");
        let target = target.pointer(first * length);
        let source = source.as_ptr();
        for panel in range.map(|index| panels.panel(index)) {
            // SAFETY: the slices are as long as asserted; the caller promises that nobody else
            // writes there.
            unsafe {
                let tile = |a: usize, runs: usize, c: usize, c_stride: usize| Tile {
                    a: source.add(a + panel.group * self.source_channels),
                    a_stride: self.stride,
                    runs: &self.runs[self.ranges[runs].clone()],
                    b: packed.as_ptr().add(panel.start),
                    bias: bias.map_or(std::ptr::null(), |bias| {
                        bias[panel.group * panels.padded + panel.column..].as_ptr()
                    }),
                    relu,
                    c: target.add(c + panel.group * panels.columns + panel.column),
                    c_stride,
                    columns: panel.columns,
                };
                match self.order {
                    Order::Pixels => {
                        for image in 0..images {
                            for y in 0..height {
                                for (x, rows) in kernels.tiles(width) {
                                    let c = ((image * height + y) * width + x) * channels;
                                    let a = image * self.layout.image + x * self.stride;
                                    kernels.inner(rows, &tile(a, y, c, channels));
                                }
                            }
                        }
                    }
                    Order::Images => {
                        let pixels = height * width;
                        for pixel in 0..pixels {
                            for (image, rows) in kernels.tiles(images) {
                                let c = (image * pixels + pixel) * channels;
                                kernels.inner(
                                    rows,
                                    &tile(image * self.layout.image, pixel, c, pixels * channels),
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}
