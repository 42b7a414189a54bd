//! Outer-product micro-kernel: weight gradients.

use crate::simd::Simd;

/// How to walk the sum of a weight gradient: the same number of steps in A and B, each with its own
/// stride in floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Walk {
    pub count: usize,
    pub a: usize,
    pub b: usize,
}

/// `C[i][j] = Σ_p A[p][i] B[p][j]`, or that added to C, for one tile: the sum runs over the pixels
/// `p` of some images.
///
/// Both operands are read where they lie: at each pixel, A's rows are consecutive floats of an
/// image (kernel column, then channel), B's columns are consecutive filters of the gradient.
///
/// # Safety
///
/// For each step of the three walks, `rows` floats of A and 1 or 2 full vectors of B must be
/// readable; C must have full vectors of columns, be writable and no other thread's.
pub(crate) struct Outer {
    pub a: *const f32,
    pub b: *const f32,
    pub images: Walk,
    pub height: Walk,
    pub width: Walk,
    pub c: *mut f32,
    pub c_stride: usize,
    /// Whether to add to C.
    pub accumulate: bool,
}

/// Computes one tile of `ROWS` rows and `VECTORS` vectors.
///
/// # Safety
///
/// As [`Outer`] says, and the CPU has `S`.
#[inline(always)]
pub(super) unsafe fn tile<S: Simd, const ROWS: usize, const VECTORS: usize>(tile: &Outer) {
    // SAFETY: all pointers stay inside what `Outer` promises.
    unsafe {
        let mut sums = [[S::zero(); VECTORS]; ROWS];
        for n in 0..tile.images.count {
            for y in 0..tile.height.count {
                let mut a = tile.a.add(n * tile.images.a + y * tile.height.a);
                let mut b = tile.b.add(n * tile.images.b + y * tile.height.b);
                for _ in 0..tile.width.count {
                    let row: [S::Vector; VECTORS] =
                        std::array::from_fn(|v| S::load(b.add(v * S::LANES)));
                    for (i, sums) in sums.iter_mut().enumerate() {
                        let x = S::splat(a.add(i));
                        for (sum, &b) in sums.iter_mut().zip(&row) {
                            *sum = S::fma(x, b, *sum);
                        }
                    }
                    a = a.wrapping_add(tile.width.a);
                    b = b.wrapping_add(tile.width.b);
                }
            }
        }
        // Adding the finished sum, rather than starting from C, keeps the rounding error that of a
        // blocked summation.
        for (i, sums) in sums.iter().enumerate() {
            for (v, &sum) in sums.iter().enumerate() {
                let c = tile.c.add(i * tile.c_stride + v * S::LANES);
                S::store(
                    c,
                    if tile.accumulate {
                        S::add(S::load(c), sum)
                    } else {
                        sum
                    },
                );
            }
        }
    }
}
