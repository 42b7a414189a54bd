//! The panels into which weights are packed for the inner-product kernel.

use super::shape::Conv2dShape;
use crate::micro::Kernels;
use crate::parallel::{self, Shared};

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
pub(crate) fn forward(shape: &Conv2dShape, kernels: &Kernels) -> Panels {
    let (channels, filters) = (shape.channels / shape.groups, shape.filters / shape.groups);
    Panels::new(kernels, shape.taps() * channels, filters, shape.groups)
}

/// Panels of the input gradient: rows (kernel row, kernel column, filter) with the kernel reversed,
/// columns channels.
pub(crate) fn transposed(shape: &Conv2dShape, kernels: &Kernels) -> Panels {
    let (channels, filters) = (shape.channels / shape.groups, shape.filters / shape.groups);
    Panels::new(kernels, shape.taps() * filters, channels, shape.groups)
}
