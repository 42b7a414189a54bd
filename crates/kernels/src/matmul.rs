//! Products of matrices that lie anywhere in memory, many at a time: those of attention, in which the heads of a
//! token lie one after another.
//!
//! The left operand is read where it lies, its rows at any distance; columns of the right one are copied into
//! panels, as a convolution's weights are, by each thread that computes rows of the product; the result is written where it
//! belongs.

use std::ops::{Deref, Range};

use crate::epilogue::Activation;
use crate::error::{ShapeError, elements};
use crate::micro::{KSpan, Kernels, Tile};
use crate::parallel::{self, Scratch, Shared, share};
use crate::products::Products;
use crate::simd_level::SimdLevel;

/// Where the matrices of an operand lie: distances in floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrix {
    /// From the start of the slice to the first element.
    pub offset: usize,
    /// From a matrix to the next, along both axes of [`MatMul::count`].
    pub matrices: [usize; 2],
    /// From a row to the next.
    pub rows: usize,
    /// From a column to the next.
    pub columns: usize,
}

/// Products `c = a · b`, for each of `count[0] × count[1]` pairs of matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatMul {
    /// How many there are, along two axes such as images and heads.
    pub count: [usize; 2],
    /// Rows of `a` and `c`.
    pub rows: usize,
    /// Columns of `a`, rows of `b`.
    pub depth: usize,
    /// Columns of `b` and `c`.
    pub columns: usize,
    /// The left operand, `[rows, depth]`; its columns lie one after another.
    pub a: Matrix,
    /// The right operand, `[depth, columns]`.
    pub b: Matrix,
    /// The result, `[rows, columns]`; its columns lie one after another.
    pub c: Matrix,
}

/// A [`MatMul`] whose sizes fit together: no element of `c` is written twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatMulShape(MatMul);

const OPERATION: &str = "matmul";

impl MatMul {
    /// Checks that the sizes fit together.
    pub fn checked(self) -> Result<MatMulShape, ShapeError> {
        let named = [
            ("matrices", self.count[0]),
            ("matrices", self.count[1]),
            ("rows", self.rows),
            ("depth", self.depth),
            ("columns", self.columns),
        ];
        if let Some(&(name, _)) = named.iter().find(|(_, size)| *size == 0) {
            return Err(ShapeError::Zero {
                operation: OPERATION,
                name,
            });
        }
        for (matrix, sizes) in [
            (self.a, [self.rows, self.depth]),
            (self.b, [self.depth, self.columns]),
            (self.c, [self.rows, self.columns]),
        ] {
            matrix.end(self.count, sizes)?;
        }
        let mut axes = [
            (self.c.matrices[0], self.count[0]),
            (self.c.matrices[1], self.count[1]),
            (self.c.rows, self.rows),
            (self.c.columns, self.columns),
        ];
        axes.sort_unstable();
        let mut extent = 1;
        for (stride, size) in axes.into_iter().filter(|(_, size)| *size > 1) {
            if stride < extent {
                return Err(ShapeError::Overlap {
                    operation: OPERATION,
                });
            }
            extent = stride * size;
        }
        if self.a.columns != 1 || self.c.columns != 1 {
            return Err(ShapeError::Columns {
                operation: OPERATION,
            });
        }
        Ok(MatMulShape(self))
    }
}

impl Matrix {
    /// One behind the last element.
    fn end(&self, count: [usize; 2], sizes: [usize; 2]) -> Result<usize, ShapeError> {
        let axes = [
            (self.matrices[0], count[0]),
            (self.matrices[1], count[1]),
            (self.rows, sizes[0]),
            (self.columns, sizes[1]),
        ];
        let mut end = self.offset as u128 + 1;
        for (stride, size) in axes {
            end += stride as u128 * (size - 1) as u128;
        }
        let end = usize::try_from(end).map_err(|_| ShapeError::TooLarge {
            operation: OPERATION,
        })?;
        elements(OPERATION, &[end])
    }
}

impl Deref for MatMulShape {
    type Target = MatMul;

    fn deref(&self) -> &MatMul {
        &self.0
    }
}

/// Computes the products.
///
/// # Panics
///
/// When a slice is too short for where its matrices lie.
pub fn matmul(shape: &MatMulShape, a: &[f32], b: &[f32], c: &mut [f32]) {
    let MatMul {
        count,
        rows,
        depth,
        columns,
        ..
    } = **shape;
    for (matrix, sizes, length) in [
        (shape.a, [rows, depth], a.len()),
        (shape.b, [depth, columns], b.len()),
        (shape.c, [rows, columns], c.len()),
    ] {
        let end = matrix.end(count, sizes).unwrap_or(usize::MAX);
        assert!(end <= length, "matmul: operands");
    }
    let kernels = Kernels::of(SimdLevel::current(), Products::Float32);
    let all = count[0] * count[1] * rows;
    let threads = parallel::threads_for(all * columns).min(all);
    let c = Shared::new(c);
    parallel::tasks(threads, |task, tasks| {
        let mut panel = Scratch::any(depth * kernels.columns());
        // The rows of all products, so that a few products are shared evenly too.
        let task_rows = share(all, task, tasks);
        for at in task_rows.start / rows..task_rows.end.div_ceil(rows) {
            let first = task_rows.start.saturating_sub(at * rows);
            let last = (task_rows.end - at * rows).min(rows);
            let (outer, inner) = (at / count[1], at % count[1]);
            let start = |matrix: &Matrix| {
                matrix.offset + outer * matrix.matrices[0] + inner * matrix.matrices[1]
            };
            // SAFETY: matrices of `c` do not overlap, by `checked`, and each row is one task's; where they end was
            // checked above.
            unsafe {
                product(
                    shape,
                    &kernels,
                    &a[start(&shape.a)..],
                    &b[start(&shape.b)..],
                    c.pointer(start(&shape.c)),
                    first..last,
                    &mut panel,
                );
            }
        }
    });
}

/// Some rows of one product, panel by panel of the right operand.
///
/// # Safety
///
/// The operands and the result have all elements of the shape, and nobody else writes there.
unsafe fn product(
    shape: &MatMulShape,
    kernels: &Kernels,
    a: &[f32],
    b: &[f32],
    c: *mut f32,
    range: Range<usize>,
    panel: &mut [f32],
) {
    let spans = [KSpan {
        a: 0,
        b: 0,
        length: shape.depth,
    }];
    for first in (0..shape.columns).step_by(kernels.columns()) {
        let columns = kernels.columns().min(shape.columns - first);
        let padded = columns.next_multiple_of(kernels.lanes);
        pack(&shape.b, shape.depth, b, first, columns, padded, panel);
        for (row, rows) in kernels.tiles(range.len()) {
            let row = range.start + row;
            let tile = Tile {
                // SAFETY: inside the operand.
                a: unsafe { a.as_ptr().add(row * shape.a.rows) },
                a_stride: shape.a.rows,
                spans: &spans,
                b: panel.as_ptr(),
                bias: std::ptr::null(),
                residual: std::ptr::null(),
                activation: Activation::Linear,
                // SAFETY: inside the result.
                c: unsafe { c.add(row * shape.c.rows + first) },
                c_stride: shape.c.rows,
                columns,
            };
            // SAFETY: the caller's promise; the panel has `depth` rows of whole vectors.
            unsafe {
                kernels.inner(rows, &tile);
            }
        }
    }
}

/// Copies columns of the right operand into a panel, filled up with zeros.
fn pack(
    matrix: &Matrix,
    depth: usize,
    b: &[f32],
    first: usize,
    columns: usize,
    padded: usize,
    panel: &mut [f32],
) {
    /// Rows at a time, where columns are what lies together.
    const BLOCK: usize = 16;
    let panel = &mut panel[..depth * padded];
    if matrix.columns == 1 {
        for (k, line) in panel.chunks_exact_mut(padded).enumerate() {
            let (line, filling) = line.split_at_mut(columns);
            line.copy_from_slice(&b[k * matrix.rows + first..][..columns]);
            filling.fill(0.0);
        }
        return;
    }
    for (block, lines) in panel.chunks_mut(BLOCK * padded).enumerate() {
        for column in 0..columns {
            let from = &b[(first + column) * matrix.columns..];
            for (k, line) in lines.chunks_exact_mut(padded).enumerate() {
                line[column] = from[(block * BLOCK + k) * matrix.rows];
            }
        }
        for line in lines.chunks_exact_mut(padded) {
            line[columns..].fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers(length: usize, seed: usize) -> Vec<f32> {
        (0..length)
            .map(|at| ((at * 7919 + seed * 31) % 1009) as f32 / 504.0 - 1.0)
            .collect()
    }

    /// Of `axes` (matrices, matrices, rows, columns), in this order from the outermost one to the innermost.
    fn matrix(sizes: [usize; 4], order: [usize; 4], offset: usize) -> Matrix {
        let mut strides = [0; 4];
        let mut stride = 1;
        for &axis in order.iter().rev() {
            strides[axis] = stride;
            stride *= sizes[axis];
        }
        Matrix {
            offset,
            matrices: [strides[0], strides[1]],
            rows: strides[2],
            columns: strides[3],
        }
    }

    fn index(matrix: &Matrix, at: [usize; 4]) -> usize {
        matrix.offset
            + at[0] * matrix.matrices[0]
            + at[1] * matrix.matrices[1]
            + at[2] * matrix.rows
            + at[3] * matrix.columns
    }

    proptest! {
        #[test]
        fn products_are_those_of_f64(
            (n, h) in (1_usize..3, 1_usize..4),
            (rows, depth, columns) in (1_usize..20, 1_usize..20, 1_usize..40),
            turned in any::<bool>(),
            heads_inside in any::<bool>(),
        ) {
            let order = if heads_inside { [0, 2, 1, 3] } else { [0, 1, 2, 3] };
            let b_order = if turned { [0, 1, 3, 2] } else { order };
            let shape = MatMul {
                count: [n, h], rows, depth, columns,
                a: matrix([n, h, rows, depth], order, 3),
                b: matrix([n, h, depth, columns], b_order, 1),
                c: matrix([n, h, rows, columns], order, 2),
            }.checked().unwrap();
            let (a, b) = (numbers(n * h * rows * depth + 3, 1), numbers(n * h * depth * columns + 1, 2));
            for level in SimdLevel::available() {
                let mut c = vec![9.0; n * h * rows * columns + 2];
                SimdLevel::scope(level, || matmul(&shape, &a, &b, &mut c));
                prop_assert_eq!(&c[..2], &[9.0, 9.0]);
                for at in 0..n * h * rows * columns {
                    let place = [at / columns / rows / h, at / columns / rows % h, at / columns % rows, at % columns];
                    let [i, j, row, column] = place;
                    let expected: f64 = (0..depth)
                        .map(|k| f64::from(a[index(&shape.a, [i, j, row, k])]) * f64::from(b[index(&shape.b, [i, j, k, column])]))
                        .sum();
                    let found = f64::from(c[index(&shape.c, place)]);
                    prop_assert!((found - expected).abs() < 1e-5, "{} {}", found, expected);
                }
            }
        }
    }

    #[test]
    fn results_that_overlap_are_refused() {
        let plain = matrix([1, 2, 3, 4], [0, 1, 2, 3], 0);
        let shape = MatMul {
            count: [1, 2],
            rows: 3,
            depth: 4,
            columns: 4,
            a: plain,
            b: plain,
            c: plain,
        };
        assert!(shape.checked().is_ok());
        let overlapping = Matrix { rows: 3, ..plain };
        let error = MatMul {
            c: overlapping,
            ..shape
        };
        assert_eq!(
            error.checked().unwrap_err(),
            ShapeError::Overlap {
                operation: "matmul"
            }
        );
        let turned = Matrix {
            columns: 2,
            rows: 1,
            ..plain
        };
        assert!(MatMul { a: turned, ..shape }.checked().is_err());
        assert!(MatMul { depth: 0, ..shape }.checked().is_err());
    }
}
