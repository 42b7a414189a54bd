//! Weights and their gradients, transformed: `G g Gᵀ` and back.
//!
//! Of each point there is a matrix `[channels, filters]`, or its transposed for the input gradient, in the panels of the
//! product's kernel.

use crate::parallel::{self, Scratch, Shared, share};
use crate::simd_level::{SimdLevel, multiversioned};

use super::super::pack::{Panel, Panels, Pass};
use super::minimal::Filtering;

/// Kernels that are transformed at a time: their numbers fill a cache line.
const LANES: usize = 16;

type Lanes = [f64; LANES];

/// A matrix, row by row.
struct Matrix {
    values: Vec<f64>,
    columns: usize,
}

/// The weights `[filters, channels, taps]` of each point, in `panels` of filters, or of channels for the input gradient.
pub(super) fn pack(
    filtering: Filtering,
    pass: Pass,
    level: SimdLevel,
    panels: &Panels,
    weights: &[f32],
) -> Scratch {
    let matrix = Matrix::of(filtering);
    let (taps, points) = (matrix.columns * matrix.columns, filtering.points());
    let mut packed = Scratch::any(points * panels.len());
    let shared = Shared::new(&mut packed);
    by_panel(points, panels, |panel| {
        let mut kernels = vec![[0.0; LANES]; taps];
        let mut transformed = vec![[0.0; LANES]; points];
        // A few kernels' weights at a time are in the cache, where their distances are powers of two.
        for first in (0..panel.padded).step_by(LANES) {
            for row in 0..panels.rows {
                for lane in 0..LANES {
                    let kernel = kernel_of(panels, pass, panel, row, first + lane);
                    let kernel = kernel.map(|at| &weights[at * taps..][..taps]);
                    for (tap, lanes) in kernels.iter_mut().enumerate() {
                        lanes[lane] = kernel.map_or(0.0, |kernel| f64::from(kernel[tap]));
                    }
                }
                transform(
                    level,
                    &matrix.values,
                    matrix.columns,
                    &kernels,
                    &mut transformed,
                );
                for (point, lanes) in transformed.iter().enumerate() {
                    let at = point * panels.len() + panel.start + row * panel.padded + first;
                    // SAFETY: panels do not overlap, and each is one task's.
                    let to = unsafe { shared.slice(at, LANES.min(panel.padded - first)) };
                    for (to, &value) in to.iter_mut().zip(lanes) {
                        *to = value as f32;
                    }
                }
            }
        }
    });
    packed
}

/// Adds up some copies of the gradients of [`pack`]ed weights of the forward pass in their order, and writes those of the
/// weights.
pub(super) fn unpack(
    filtering: Filtering,
    level: SimdLevel,
    panels: &Panels,
    sums: &[f32],
    to: &mut [f32],
) {
    let matrix = Matrix::of(filtering).transposed();
    let (points, taps) = (filtering.points(), filtering.taps() * filtering.taps());
    let copy = points * panels.len();
    let to = Shared::new(to);
    by_panel(points, panels, |panel| {
        let mut gradients = vec![[0.0; LANES]; points];
        let mut transformed = vec![[0.0; LANES]; taps];
        for first in (0..panel.columns).step_by(LANES) {
            for row in 0..panels.rows {
                for (point, lanes) in gradients.iter_mut().enumerate() {
                    let at = point * panels.len() + panel.start + row * panel.padded + first;
                    *lanes = [0.0; LANES];
                    for sums in sums.chunks_exact(copy) {
                        for (lane, &sum) in lanes
                            .iter_mut()
                            .zip(&sums[at..][..LANES.min(panel.padded - first)])
                        {
                            *lane += f64::from(sum);
                        }
                    }
                }
                transform(
                    level,
                    &matrix.values,
                    matrix.columns,
                    &gradients,
                    &mut transformed,
                );
                for lane in 0..LANES {
                    let kernel = kernel_of(panels, Pass::Forward, panel, row, first + lane);
                    let Some(at) = kernel else { continue };
                    // SAFETY: each panel's kernels are one task's.
                    let to = unsafe { to.slice(at * taps, taps) };
                    for (to, lanes) in to.iter_mut().zip(&transformed) {
                        *to = lanes[lane] as f32;
                    }
                }
            }
        }
    });
}

/// The number of the kernel in a row and column of a panel; none in the filling.
fn kernel_of(
    panels: &Panels,
    pass: Pass,
    panel: Panel,
    row: usize,
    column: usize,
) -> Option<usize> {
    (column < panel.columns).then(|| {
        let column = panel.column + column;
        match pass {
            Pass::Forward => column * panels.rows + row,
            Pass::InputGradient => row * panels.columns + column,
        }
    })
}

/// Runs `work` for each panel, in parallel.
fn by_panel(points: usize, panels: &Panels, work: impl Fn(Panel) + Sync) {
    let threads = parallel::threads_for(points * panels.len());
    parallel::tasks(threads.min(panels.count()), |task, tasks| {
        for index in share(panels.count(), task, tasks) {
            work(panels.panel(index));
        }
    });
}

impl Matrix {
    /// `G`.
    fn of(filtering: Filtering) -> Self {
        let rows = filtering.kernel_matrix();
        Self {
            values: rows.concat(),
            columns: filtering.taps(),
        }
    }

    fn transposed(&self) -> Self {
        let rows = self.values.len() / self.columns;
        let at = |i: usize| self.values[i % rows * self.columns + i / rows];
        Self {
            values: (0..self.values.len()).map(at).collect(),
            columns: rows,
        }
    }
}

multiversioned! {
    /// `M x Mᵀ` for some matrices `x`, where `M` has so many columns.
    fn transform(matrix: &[f64], columns: usize, x: &[Lanes], to: &mut [Lanes]) = transform_body
}

#[inline(always)]
fn transform_body(matrix: &[f64], columns: usize, x: &[Lanes], to: &mut [Lanes]) {
    // Loops of known lengths, as many as there are filterings, there and back.
    match (matrix.len() / columns, columns) {
        (4, 3) => sized::<4, 3>(matrix, x, to),
        (3, 4) => sized::<3, 4>(matrix, x, to),
        (6, 5) => sized::<6, 5>(matrix, x, to),
        (5, 6) => sized::<5, 6>(matrix, x, to),
        (rows, columns) => unreachable!("a matrix of {rows} rows and {columns} columns"),
    }
}

#[inline(always)]
fn sized<const ROWS: usize, const COLUMNS: usize>(matrix: &[f64], x: &[Lanes], to: &mut [Lanes]) {
    let (matrix, _) = matrix.as_chunks::<COLUMNS>();
    let (x, _) = x.as_chunks::<COLUMNS>();
    let (to, _) = to.as_chunks_mut::<ROWS>();
    for (row, to) in matrix.iter().zip(to) {
        let mut half = [[0.0; LANES]; COLUMNS];
        for (&factor, x) in row.iter().zip(x) {
            for (sum, x) in half.iter_mut().zip(x) {
                add_times(factor, x, sum);
            }
        }
        for (row, to) in matrix.iter().zip(to) {
            let mut sum = [0.0; LANES];
            for (&factor, half) in row.iter().zip(&half) {
                add_times(factor, half, &mut sum);
            }
            *to = sum;
        }
    }
}

#[inline(always)]
fn add_times(factor: f64, x: &Lanes, sum: &mut Lanes) {
    for (sum, x) in sum.iter_mut().zip(x) {
        *sum += factor * x;
    }
}
