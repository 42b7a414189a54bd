//! Weights in the order in which the inner-product kernel reads them.
//!
//! A tile of the product is some rows × the columns of one *panel*: two vectors of filters (forward)
//! or channels (input gradient), the last panel of a group filled up with zeros to whole vectors. A
//! panel is `[rows][columns]`, so that the kernel reads it front to back: each step of the sum loads
//! the next two vectors. Its rows are (kernel row, kernel column, channel), the order in which a
//! window's floats lie in a channels-last image; for the input gradient the kernel is reversed and
//! the rows are (kernel row, kernel column, filter).
//!
//! ```text
//! weights [filter][channel][tap]            packed [panel][tap][channel][filter of the panel]
//!
//! f0: c0t0 c0t1 … c1t0 c1t1 …               t0 c0: f0 f1 … f31
//! f1: c0t0 c0t1 …                    →      t0 c1: f0 f1 … f31
//! …                                         …
//! ```
//!
//! That is a transposition of the weights at each call: a copy of each weight, beside a multiply-add
//! of each with every pixel. Its danger is cache associativity: filters are often a multiple of
//! 2 KiB apart, and reading one float of each then evicts what the next read needs. [`Staging`]
//! copies stretches of the filters to rows of odd length first. The weight gradient goes the same
//! way back.

use crate::micro::Kernels;
use crate::parallel::{self, Scratch, Shared};
use crate::products::{Products, pair};
use crate::simd_level::SimdLevel;

use super::shape::Conv2dShape;

/// How the columns of each group are cut into panels of two vectors, the last of one or two, filled
/// up with zeros.
///
/// A panel holds all rows of its columns together, `[rows][columns]`; panels follow one another,
/// then groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Panels {
    /// Rows: the length of the sum.
    pub rows: usize,
    /// Columns of a group, without the filling.
    pub columns: usize,
    /// Columns of a full panel.
    pub full: usize,
    /// Columns of a group, with the filling.
    pub padded: usize,
    /// Panels in a group.
    pub per_group: usize,
    /// Groups.
    pub groups: usize,
}

/// One panel's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Panel {
    pub group: usize,
    /// First column within the group.
    pub column: usize,
    /// Columns without the filling.
    pub columns: usize,
    /// Columns with the filling.
    pub padded: usize,
    /// Where it starts in the packed weights.
    pub start: usize,
}

impl Panels {
    pub(crate) fn new(kernels: &Kernels, rows: usize, columns: usize, groups: usize) -> Self {
        let full = kernels.columns();
        let padded = columns.next_multiple_of(kernels.lanes);
        Self {
            rows,
            columns,
            full,
            padded,
            per_group: columns.div_ceil(full),
            groups,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.per_group * self.groups
    }

    /// Floats of all panels.
    pub(crate) fn len(&self) -> usize {
        self.rows * self.padded * self.groups
    }

    pub(crate) fn panel(&self, index: usize) -> Panel {
        let (group, column) = (index / self.per_group, index % self.per_group * self.full);
        let columns = self.full.min(self.columns - column);
        let padded = self.full.min(self.padded - column);
        Panel {
            group,
            column,
            columns,
            padded,
            start: self.rows * (group * self.padded + column),
        }
    }

    /// Runs `fill(panel, its part of packed)` for each panel, in parallel.
    pub(super) fn fill(&self, packed: &mut [f32], fill: impl Fn(Panel, &mut [f32]) + Sync) {
        assert_eq!(packed.len(), self.len(), "packed weights");
        let packed = Shared::new(packed);
        parallel::tasks(
            self.count().min(parallel::threads_for(self.len())),
            |task, tasks| {
                for panel in
                    parallel::share(self.count(), task, tasks).map(|index| self.panel(index))
                {
                    // SAFETY: panels do not overlap, and each is filled by one task.
                    fill(panel, unsafe {
                        packed.slice(panel.start, self.rows * panel.padded)
                    });
                }
            },
        );
    }
}

/// Panels of the forward pass: rows (kernel row, kernel column, channel), columns filters.
pub(crate) fn forward_panels(shape: &Conv2dShape, kernels: &Kernels) -> Panels {
    let (channels, filters) = (shape.channels / shape.groups, shape.filters / shape.groups);
    Panels::new(kernels, shape.taps() * channels, filters, shape.groups)
}

/// Panels of the input gradient: rows (kernel row, kernel column, filter) with the kernel reversed,
/// columns channels.
pub(crate) fn transposed_panels(shape: &Conv2dShape, kernels: &Kernels) -> Panels {
    let (channels, filters) = (shape.channels / shape.groups, shape.filters / shape.groups);
    Panels::new(kernels, shape.taps() * filters, channels, shape.groups)
}

/// Packs `weights` for [`forward_panels`], one float in a word.
fn pack_forward(shape: &Conv2dShape, panels: &Panels, weights: &[f32], packed: &mut [f32]) {
    let (channels, taps) = (shape.channels / shape.groups, shape.taps());
    let block = Staging::channels(taps);
    panels.fill(packed, |panel, packed| {
        let mut staging = Staging::new(panel.columns, block * taps);
        let filters = &weights[(panel.group * panels.columns + panel.column) * panels.rows..];
        for first in (0..channels).step_by(block) {
            let count = block.min(channels - first);
            for (filter, to) in filters.chunks_exact(panels.rows).zip(staging.rows()) {
                to[..count * taps].copy_from_slice(&filter[first * taps..][..count * taps]);
            }
            for (channel, tap) in
                (0..count).flat_map(|channel| (0..taps).map(move |tap| (channel, tap)))
            {
                let line = &mut packed[(tap * channels + first + channel) * panel.padded..]
                    [..panel.padded];
                let (line, filling) = line.split_at_mut(panel.columns);
                staging.get_column(channel * taps + tap, line);
                filling.fill(0.0);
            }
        }
    });
}

/// Packs `weights` for [`transposed_panels`], one float in a word.
fn pack_transposed(shape: &Conv2dShape, panels: &Panels, weights: &[f32], packed: &mut [f32]) {
    let (filters, channels, taps) = (shape.filters / shape.groups, panels.columns, shape.taps());
    panels.fill(packed, |panel, packed| {
        for filter in 0..filters {
            let from =
                &weights[((panel.group * filters + filter) * channels + panel.column) * taps..];
            for tap in 0..taps {
                let line = &mut packed[(tap * filters + filter) * panel.padded..][..panel.padded];
                let (line, filling) = line.split_at_mut(panel.columns);
                let from = from[taps - 1 - tap..].iter().step_by(taps);
                line.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                filling.fill(0.0);
            }
        }
    });
}

/// Which product weights are packed for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pass {
    /// By [`forward_panels`].
    Forward,
    /// By [`transposed_panels`].
    InputGradient,
}

/// Packs `weights` in words of `products`. Returns them with their panels.
pub(crate) fn pack(
    shape: &Conv2dShape,
    pass: Pass,
    kernels: &Kernels,
    (level, products): (SimdLevel, Products),
    weights: &[f32],
) -> (Panels, Scratch) {
    let panels = match pass {
        Pass::Forward => forward_panels(shape, kernels),
        Pass::InputGradient => transposed_panels(shape, kernels),
    };
    let mut floats = Scratch::any(panels.len());
    match pass {
        Pass::Forward => pack_forward(shape, &panels, weights, &mut floats),
        Pass::InputGradient => pack_transposed(shape, &panels, weights, &mut floats),
    }
    match products {
        Products::Float32 => (panels, floats),
        Products::Bf16 => {
            let words = Panels {
                rows: panels.rows / 2,
                ..panels
            };
            let mut packed = Scratch::any(words.len());
            words.fill(&mut packed, |panel, packed| {
                let floats = floats[2 * panel.start..].chunks_exact(2 * panel.padded);
                for (to, rows) in packed.chunks_exact_mut(panel.padded).zip(floats) {
                    let (low, high) = rows.split_at(panel.padded);
                    pair(level, low, high, to);
                }
            });
            (words, packed)
        }
    }
}

/// A small matrix through which weights are transposed.
///
/// A filter's weights are one piece, and filters are often a multiple of 2 KiB apart, at which
/// distance an L1 cache holds few lines. Pieces of the filters are therefore copied to rows of odd
/// length first.
pub(super) struct Staging {
    floats: Scratch,
    pitch: usize,
}

impl Staging {
    /// Channels to stage at a time.
    pub(super) fn channels(taps: usize) -> usize {
        (256 / taps).clamp(1, 64)
    }

    /// At least `rows` rows of `length` floats.
    pub(super) fn new(rows: usize, length: usize) -> Self {
        let pitch = length | 1;
        Self {
            floats: Scratch::any(rows * pitch),
            pitch,
        }
    }

    /// The rows.
    pub(super) fn rows(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.floats.chunks_exact_mut(self.pitch)
    }

    /// Element `index` of the first rows to `column`.
    pub(super) fn get_column(&self, index: usize, column: &mut [f32]) {
        for (to, row) in column.iter_mut().zip(self.floats.chunks_exact(self.pitch)) {
            *to = row[index];
        }
    }

    /// `column` to element `index` of the first rows.
    pub(super) fn set_column(&mut self, index: usize, column: &[f32]) {
        for (row, from) in self.floats.chunks_exact_mut(self.pitch).zip(column) {
            row[index] = *from;
        }
    }

    /// `column` added to element `index` of the first rows.
    pub(super) fn add_column(&mut self, index: usize, column: &[f32]) {
        for (row, from) in self.floats.chunks_exact_mut(self.pitch).zip(column) {
            row[index] += *from;
        }
    }
}
