//! How a convolution (or its transpose) is cut into tiles for the inner-product kernel, and divided
//! among threads.
//!
//! The rows of a tile are either neighboring pixels of an output row or the same pixel of several
//! images ([`Order`]). Neighbouring pixels share most of their input, but need the padding as zeros
//! in the source. The same pixel of several images has one list of taps, from which padding is left
//! out exactly; that wins where images are small and padding is a large part, as in the last layers
//! of a network. [`Plan::new`] counts the multiply-adds of both and takes the cheaper one.
//!
//! What the kernel is handed is a list of [`KSpan`]s for each output row or pixel: stretches of the
//! sum in which both operands are contiguous. Taps that are neighbors in a row of the image and of
//! the kernel join to one span, so that a 5×5 kernel on 32 channels is 5 spans of 160, and the loop
//! over spans costs nothing.
//!
//! Threads divide the images, or the panels of the weights where those are larger ([`Split`]): a
//! thread then reads only its share of the larger operand.

use std::ops::Range;

use crate::epilogue::Activation;
use crate::micro::{KSpan, Kernels, Tile};
use crate::parallel::{self, Shared, share};

use super::geometry::{ConvGeometry, Layout, Sliding};
use super::pack::Panels;

/// What the rows of a tile are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Neighbouring pixels of one output row. Padding across must be in the source as zeros.
    Pixels,
    /// The same pixel of several images. Padding is left out of the sums exactly, and costs
    /// nothing.
    Images,
}

/// Tiles of a [`ConvGeometry`].
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
    spans: Vec<KSpan>,
    /// The spans of each output row ([`Order::Pixels`]) or pixel ([`Order::Images`]).
    ranges: Vec<Range<usize>>,
}

/// The right-hand side of the product, and what follows it.
#[derive(Clone, Copy)]
pub(crate) struct Weights<'a> {
    pub panels: &'a Panels,
    pub packed: &'a [f32],
    /// As long as a row of all panels, filled up like them.
    pub bias: Option<&'a [f32]>,
    /// As long as the target.
    pub residual: Option<&'a [f32]>,
    pub activation: Activation,
}

/// Source bytes to work on at a time, so that they stay in a 1 MiB L2 cache beside a panel of
/// weights.
const GROUP_BYTES: usize = 384 * 1024;

/// What a tile costs beside its multiply-adds, in rows: loading B.
const TILE_OVERHEAD: usize = 2;

impl Plan {
    /// Chooses the cheaper order for tasks of `images` images.
    pub(crate) fn new(geometry: &ConvGeometry, kernels: &Kernels, images: usize) -> Self {
        let cost = |rows: usize| rows + TILE_OVERHEAD * rows.div_ceil(kernels.rows);
        let by_images = geometry.taps() * cost(images);
        let by_pixels = geometry.y.count() * geometry.x.kernel * cost(geometry.target[1]) * images;
        match geometry.x.sliding {
            Some(sliding) if by_pixels <= by_images => Self::by_pixels(geometry, sliding),
            _ => Self::by_images(geometry),
        }
    }

    /// Tiles of neighboring pixels.
    pub(crate) fn by_pixels(geometry: &ConvGeometry, sliding: Sliding) -> Self {
        let [height, width, channels] = geometry.source;
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
        let across: Vec<(usize, usize)> = (0..geometry.x.kernel)
            .map(|k| (k, k * sliding.dilation))
            .collect();
        let mut plan = Self::empty(geometry, Order::Pixels, layout, padded != width);
        plan.stride = sliding.step * channels;
        for down in &geometry.y.taps {
            plan.push(geometry, down, &across);
        }
        plan.reach += (geometry.target[1] - 1) * plan.stride;
        plan
    }

    /// Tiles of one pixel in several images.
    pub(crate) fn by_images(geometry: &ConvGeometry) -> Self {
        let [height, width, channels] = geometry.source;
        let plain = height * width * channels;
        // Rows a multiple of 2 KiB apart share two sets of a 32 KiB L1 cache: the lines of 14 of
        // them crowd each other out.
        let skew = if plain.is_multiple_of(512) { 16 } else { 0 };
        let layout = Layout {
            image: plain + skew,
            row: width * channels,
            before: 0,
        };
        let mut tiles = Self::empty(geometry, Order::Images, layout, skew != 0);
        tiles.stride = layout.image;
        for down in &geometry.y.taps {
            for across in &geometry.x.taps {
                tiles.push(geometry, down, across);
            }
        }
        tiles
    }

    fn empty(geometry: &ConvGeometry, order: Order, layout: Layout, buffered: bool) -> Self {
        let (spans, ranges) = (Vec::new(), Vec::new());
        let source_channels = geometry.source[2] / geometry.groups;
        let rows = geometry.y.kernel * geometry.x.kernel * source_channels;
        Self {
            order,
            layout,
            buffered,
            target: geometry.target,
            source_channels,
            rows,
            stride: 0,
            reach: 0,
            spans,
            ranges,
        }
    }

    /// Adds the spans of one range: taps that are neighbors in source and kernel alike become one
    /// span.
    fn push(
        &mut self,
        geometry: &ConvGeometry,
        down: &[(usize, usize)],
        across: &[(usize, usize)],
    ) {
        let start = self.spans.len();
        let length = self.source_channels;
        for &(ky, y) in down {
            for &(kx, x) in across {
                let a = y * self.layout.row + x * geometry.source[2];
                let b = (ky * geometry.x.kernel + kx) * length;
                match self.spans[start..].last_mut() {
                    Some(last) if last.a + last.length == a && last.b + last.length == b => {
                        last.length += length;
                    }
                    _ => self.spans.push(KSpan { a, b, length }),
                }
            }
        }
        let end = self.spans[start..]
            .iter()
            .map(|span| span.a + span.length)
            .max()
            .unwrap_or(0);
        self.reach = self.reach.max(end + (geometry.groups - 1) * length);
        self.ranges.push(start..self.spans.len());
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
            residual,
            activation,
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
        assert!(
            residual.is_none_or(|residual| residual.len() == target.len()),
            "residual"
        );
        let residual = residual.map(|residual| residual[first * length..].as_ptr());
        let target = target.pointer(first * length);
        let source = source.as_ptr();
        for panel in range.map(|index| panels.panel(index)) {
            // SAFETY: the slices are as long as asserted; the caller promises that nobody else
            // writes there.
            unsafe {
                let column = panel.group * panels.columns + panel.column;
                let tile = |a: usize, spans: usize, c: usize, c_stride: usize| Tile {
                    a: source.add(a + panel.group * self.source_channels),
                    a_stride: self.stride,
                    spans: &self.spans[self.ranges[spans].clone()],
                    b: packed.as_ptr().add(panel.start),
                    bias: bias.map_or(std::ptr::null(), |bias| {
                        bias[panel.group * panels.padded + panel.column..].as_ptr()
                    }),
                    residual: residual.map_or(std::ptr::null(), |from| from.add(c + column)),
                    activation,
                    c: target.add(c + column),
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
