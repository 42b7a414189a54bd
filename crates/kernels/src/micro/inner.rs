//! Inner-product micro-kernel: forward convolution, input gradient, dense layers.

use crate::simd::Simd;

/// A stretch of the sum over which both operands are contiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KSpan {
    /// Where it starts in a row of A, in floats from the row's start.
    pub a: usize,
    /// Its first row in the B panel.
    pub b: usize,
    /// Its length.
    pub length: usize,
}

/// `C[i][j] = Σ_k A[i][k] B[k][j]`, plus bias and activation, for one tile.
///
/// A is read where it lies: row `i` starts at `a + i * a_stride`, and the sum is over `spans` of
/// it. Rows may overlap: the windows of neighboring pixels do, so that a convolution needs no copy
/// of its input (no im2col).
///
/// # Safety
///
/// For each row and span, `a + i * a_stride + span.a ..+ span.length` must be readable, B must have
/// `span.b + span.length` rows of 1 or 2 full vectors, `bias` (unless null) as many floats as a row
/// of B, and `c + i * c_stride ..+ columns` must be writable and no other thread's.
pub(crate) struct Tile<'a> {
    pub a: *const f32,
    pub a_stride: usize,
    pub spans: &'a [KSpan],
    pub b: *const f32,
    pub bias: *const f32,
    pub relu: bool,
    pub c: *mut f32,
    pub c_stride: usize,
    pub columns: usize,
}

/// Computes one tile of `ROWS` rows and `VECTORS` vectors.
///
/// # Safety
///
/// As [`Tile`] says, and the CPU has `S`.
#[inline(always)]
pub(super) unsafe fn tile<S: Simd, const ROWS: usize, const VECTORS: usize>(tile: &Tile) {
    // SAFETY: all pointers stay inside what `Tile` promises.
    unsafe {
        let mut sums = [[S::zero(); VECTORS]; ROWS];
        let stride = tile.a_stride;
        for span in tile.spans {
            let mut a = tile.a.add(span.a);
            let mut b = tile.b.add(span.b * VECTORS * S::LANES);
            for _ in 0..span.length {
                let row: [S::Vector; VECTORS] =
                    std::array::from_fn(|v| S::load(b.add(v * S::LANES)));
                for (i, sums) in sums.iter_mut().enumerate() {
                    let x = S::splat(a.add(i * stride));
                    for (sum, &b) in sums.iter_mut().zip(&row) {
                        *sum = S::fma(x, b, *sum);
                    }
                }
                a = a.add(1);
                b = b.add(VECTORS * S::LANES);
            }
        }
        if !tile.bias.is_null() {
            for v in 0..VECTORS {
                let bias = S::load(tile.bias.add(v * S::LANES));
                for sums in &mut sums {
                    sums[v] = S::add(sums[v], bias);
                }
            }
        }
        if tile.relu {
            for sum in sums.as_flattened_mut() {
                *sum = S::relu(*sum);
            }
        }
        let full = tile.columns == VECTORS * S::LANES;
        for (i, sums) in sums.iter().enumerate() {
            let c = tile.c.add(i * tile.c_stride);
            if full {
                for (v, &sum) in sums.iter().enumerate() {
                    S::store(c.add(v * S::LANES), sum);
                }
            } else {
                // A row of C ends inside a vector: what follows belongs to the next pixel.
                let mut whole = [[0.0; 16]; VECTORS];
                let whole = whole.as_mut_ptr().cast::<f32>();
                for (v, &sum) in sums.iter().enumerate() {
                    S::store(whole.add(v * S::LANES), sum);
                }
                c.copy_from_nonoverlapping(whole, tile.columns);
            }
        }
    }
}
