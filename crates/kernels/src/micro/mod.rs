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

mod inner;
mod outer;

pub(crate) use inner::{KSpan, Tile};
pub(crate) use outer::{Outer, Walk};

use crate::simd::Portable;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd_level::SimdLevel;

/// Micro-kernels of one size. Calling one needs a valid argument and the level's instructions.
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
    inner: table!(InnerFn, Tile<'_>, inner::tile::<Avx512, ROWS, VECTORS>, "avx512f", [1 2 3 4 5 6 7 8 9 10 11 12 13 14]),
    outer: table!(OuterFn, Outer, outer::tile::<Avx512, ROWS, VECTORS>, "avx512f", [1 2 3 4 5 6 7 8 9 10 11 12 13 14]),
};

#[cfg(target_arch = "x86_64")]
const AVX2: Kernels = Kernels {
    lanes: 8,
    rows: 6,
    inner: table!(InnerFn, Tile<'_>, inner::tile::<Avx2, ROWS, VECTORS>, "avx2,fma", [1 2 3 4 5 6]),
    outer: table!(OuterFn, Outer, outer::tile::<Avx2, ROWS, VECTORS>, "avx2,fma", [1 2 3 4 5 6]),
};

const PORTABLE: Kernels = Kernels {
    lanes: 8,
    rows: 2,
    inner: &[
        [
            inner::tile::<Portable, 1, 1> as InnerFn,
            inner::tile::<Portable, 1, 2>,
        ],
        [inner::tile::<Portable, 2, 1>, inner::tile::<Portable, 2, 2>],
    ],
    outer: &[
        [
            outer::tile::<Portable, 1, 1> as OuterFn,
            outer::tile::<Portable, 1, 2>,
        ],
        [outer::tile::<Portable, 2, 1>, outer::tile::<Portable, 2, 2>],
    ],
};

impl Kernels {
    /// The kernels of `level`, which must come from [`SimdLevel::current`].
    pub(crate) fn of(level: SimdLevel) -> Self {
        match level {
            #[cfg(target_arch = "x86_64")]
            SimdLevel::Avx512 => AVX512,
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
