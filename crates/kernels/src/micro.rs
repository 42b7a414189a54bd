//! The two micro-kernels in which all the multiplying happens, and the tables that choose their
//! sizes at run time.
//!
//! Both keep a tile of `rows × 2 vectors` of the result in registers while they walk the whole sum,
//! so that the inner loop only loads operands: per step of the sum, 2 vectors of B and `rows`
//! single floats of A, each of which feeds two fused multiply-adds.
//!
//! | level | registers | tile | in use | FMAs per step | loads per step |
//! | --- | --- | --- | --- | --- | --- |
//! | AVX-512 | 32 of 16 floats | 14 × 32 | 28 sums + 2 B + 1 A = 31 | 28 | 16 |
//! | AVX2 | 16 of 8 floats | 6 × 16 | 12 sums + 2 B + 1 A = 15 | 12 | 8 |
//! | portable | 16 of 4 floats (SSE2) | 2 × 16 | 8 sums + 4 B + 1 A = 13 | 8 | 6 |
//!
//! A CPU that starts as many vector loads as FMAs per cycle (Zen 4, Ice Lake and later) is
//! then bound by its multipliers. An FMA takes 4 cycles, so that 8 independent sums keep two pipes
//! busy: 4 rows suffice for that.
//!
//! The B panel of a tile is `sum length × 32` floats: 100 KiB for a 5×5 kernel on 32 channels. It
//! streams from the L2 cache at 128 bytes in 28 cycles, a seventh of what L2 gives, while A's few
//! rows stay in L1. So no tile is blocked further.

use crate::epilogue::Activation;
use crate::products::Products;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512, Avx512Bf16};
use crate::simd::{Portable, Simd};
use crate::simd_level::SimdLevel;

/// Micro-kernels of one size, on floats or on words of [`Products`]. Calling one needs a valid argument and the level's instructions.
type InnerFn = unsafe fn(&Tile<'_>);
type OuterFn = unsafe fn(&Outer);

/// The micro-kernels of one level: entry `[rows - 1][vectors - 1]`.
#[derive(Clone, Copy)]
pub(crate) struct Kernels {
    /// Floats in a vector.
    pub lanes: usize,
    /// Most rows in a tile.
    pub rows: usize,
    inner: &'static [[InnerFn; 2]],
    outer: &'static [[OuterFn; 2]],
}

/// A table of `$body` (in `ROWS` and `VECTORS`), compiled for the instructions `$features`.
macro_rules! table {
    ($function:ty, $argument:ty, $body:expr, $features:literal, [$($rows:literal)*]) => {{
        #[target_feature(enable = $features)]
        unsafe fn sized<const ROWS: usize, const VECTORS: usize>(argument: &$argument) {
            // SAFETY: the caller's promise, passed on.
            unsafe { $body(argument) }
        }
        &[$([sized::<$rows, 1> as $function, sized::<$rows, 2>]),*]
    }};
}

#[cfg(target_arch = "x86_64")]
const AVX512: Kernels = Kernels {
    lanes: 16,
    rows: 14,
    inner: table!(InnerFn, Tile<'_>, inner_tile::<Avx512, ROWS, VECTORS>, "avx512f", [1 2 3 4 5 6 7 8 9 10 11 12 13 14]),
    outer: table!(OuterFn, Outer, outer_tile::<Avx512, ROWS, VECTORS>, "avx512f", [1 2 3 4 5 6 7 8 9 10 11 12 13 14]),
};

#[cfg(target_arch = "x86_64")]
const AVX512_BF16: Kernels = Kernels {
    lanes: 16,
    rows: 14,
    inner: table!(InnerFn, Tile<'_>, inner_tile::<Avx512Bf16, ROWS, VECTORS>, "avx512f,avx512bf16", [1 2 3 4 5 6 7 8 9 10 11 12 13 14]),
    outer: table!(OuterFn, Outer, outer_tile::<Avx512Bf16, ROWS, VECTORS>, "avx512f,avx512bf16", [1 2 3 4 5 6 7 8 9 10 11 12 13 14]),
};

#[cfg(target_arch = "x86_64")]
const AVX2: Kernels = Kernels {
    lanes: 8,
    rows: 6,
    inner: table!(InnerFn, Tile<'_>, inner_tile::<Avx2, ROWS, VECTORS>, "avx2,fma", [1 2 3 4 5 6]),
    outer: table!(OuterFn, Outer, outer_tile::<Avx2, ROWS, VECTORS>, "avx2,fma", [1 2 3 4 5 6]),
};

const PORTABLE: Kernels = Kernels {
    lanes: 8,
    rows: 2,
    inner: &[
        [
            inner_tile::<Portable, 1, 1> as InnerFn,
            inner_tile::<Portable, 1, 2>,
        ],
        [inner_tile::<Portable, 2, 1>, inner_tile::<Portable, 2, 2>],
    ],
    outer: &[
        [
            outer_tile::<Portable, 1, 1> as OuterFn,
            outer_tile::<Portable, 1, 2>,
        ],
        [outer_tile::<Portable, 2, 1>, outer_tile::<Portable, 2, 2>],
    ],
};

impl Kernels {
    /// The kernels of `level`, which must come from [`SimdLevel::current`], on floats or on words; `products` must come
    /// from [`Products::at`].
    pub(crate) fn of(level: SimdLevel, products: Products) -> Self {
        match level {
            #[cfg(target_arch = "x86_64")]
            SimdLevel::Avx512 => match products {
                Products::Float32 => AVX512,
                Products::Bf16 => AVX512_BF16,
            },
            #[cfg(target_arch = "x86_64")]
            SimdLevel::Avx2 => AVX2,
            #[cfg(not(target_arch = "x86_64"))]
            SimdLevel::Avx512 | SimdLevel::Avx2 => PORTABLE,
            SimdLevel::Portable => PORTABLE,
        }
    }

    /// Columns in a full panel: two vectors.
    pub(crate) fn columns(&self) -> usize {
        2 * self.lanes
    }

    /// Vectors that `columns` columns take: 1 or 2.
    pub(crate) fn vectors(&self, columns: usize) -> usize {
        debug_assert!(
            (1..=self.columns()).contains(&columns),
            "a panel has 1 to {} columns",
            self.columns()
        );
        if columns <= self.lanes { 1 } else { 2 }
    }

    /// `rows` split into tiles as even as possible: (first row, rows) each.
    pub(crate) fn tiles(&self, rows: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let count = rows.div_ceil(self.rows);
        (0..count).map(move |i| {
            let start = rows * i / count;
            (start, rows * (i + 1) / count - start)
        })
    }

    /// Runs the inner-product kernel on `rows` rows.
    ///
    /// # Safety
    ///
    /// As [`Tile`] says.
    pub(crate) unsafe fn inner(&self, rows: usize, tile: &Tile) {
        // SAFETY: passed on; the table only has kernels of this level, which the CPU has.
        unsafe { self.inner[rows - 1][self.vectors(tile.columns) - 1](tile) }
    }

    /// Runs the outer-product kernel on `rows` rows.
    ///
    /// # Safety
    ///
    /// As [`Outer`] says.
    pub(crate) unsafe fn outer(&self, rows: usize, columns: usize, outer: &Outer) {
        // SAFETY: passed on; the table only has kernels of this level, which the CPU has.
        unsafe { self.outer[rows - 1][self.vectors(columns) - 1](outer) }
    }
}

// Inner product: forward convolution, input gradient, dense layers.

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

/// `C[i][j] = activation(Σ_k A[i][k] B[k][j] + bias[j] + residual[i][j])` for one tile.
///
/// A is read where it lies: row `i` starts at `a + i * a_stride`, and the sum is over `spans` of
/// it. Rows may overlap: the windows of neighboring pixels do, so that a convolution needs no copy
/// of its input (no im2col).
///
/// # Safety
///
/// For each row and span, `a + i * a_stride + span.a ..+ span.length` must be readable, B must have
/// `span.b + span.length` rows of 1 or 2 full vectors, `bias` (unless null) as many floats as a row
/// of B, and `c + i * c_stride ..+ columns` must be writable and no other thread's. `residual` (unless
/// null) must be readable where C is writable.
pub(crate) struct Tile<'a> {
    pub a: *const f32,
    pub a_stride: usize,
    pub spans: &'a [KSpan],
    pub b: *const f32,
    pub bias: *const f32,
    /// Laid out as C.
    pub residual: *const f32,
    pub activation: Activation,
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
unsafe fn inner_tile<S: Simd, const ROWS: usize, const VECTORS: usize>(tile: &Tile) {
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
        let last = tile.columns - (VECTORS - 1) * S::LANES;
        if last == S::LANES {
            finish::<S, ROWS, VECTORS, true>(tile, sums, last);
        } else {
            finish::<S, ROWS, VECTORS, false>(tile, sums, last);
        }
    }
}

/// Residual, activation and store. A row of C may end inside its last vector, after `last` lanes:
/// what follows belongs to the next pixel.
///
/// # Safety
///
/// As [`Tile`] says, and the CPU has `S`.
#[inline(always)]
unsafe fn finish<S: Simd, const ROWS: usize, const VECTORS: usize, const FULL: bool>(
    tile: &Tile,
    mut sums: [[S::Vector; VECTORS]; ROWS],
    last: usize,
) {
    // SAFETY: all pointers stay inside what `Tile` promises.
    unsafe {
        if !tile.residual.is_null() {
            for (i, sums) in sums.iter_mut().enumerate() {
                let residual = tile.residual.add(i * tile.c_stride);
                for (v, sum) in sums.iter_mut().enumerate() {
                    let from = residual.add(v * S::LANES);
                    let value = if v + 1 < VECTORS {
                        S::load(from)
                    } else {
                        S::load_lanes::<FULL>(from, last)
                    };
                    *sum = S::add(*sum, value);
                }
            }
        }
        match tile.activation {
            Activation::Linear => {}
            Activation::Relu => {
                for sum in sums.as_flattened_mut() {
                    *sum = S::relu(*sum);
                }
            }
            Activation::Relu6 => {
                for sum in sums.as_flattened_mut() {
                    *sum = S::relu6(*sum);
                }
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            let c = tile.c.add(i * tile.c_stride);
            for (v, &sum) in sums.iter().enumerate() {
                let to = c.add(v * S::LANES);
                if v + 1 < VECTORS {
                    S::store(to, sum);
                } else {
                    S::store_lanes::<FULL>(to, sum, last);
                }
            }
        }
    }
}

// Outer product: weight gradients.

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
unsafe fn outer_tile<S: Simd, const ROWS: usize, const VECTORS: usize>(tile: &Outer) {
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
