//! The transforms of Winograd's minimal filtering, and the tables that choose them at run time.
//!
//! A transform of a tile is one along its columns and one along its rows. Both keep a vector of channels of each of the
//! tile's pixels, and take the next vector after that. The last vector may be partial: it is loaded and stored by a mask.

use crate::epilogue::{Activation, for_activation};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Portable, Simd};
use crate::simd_level::SimdLevel;

use super::minimal::{Filtering, Minimal, Size2x3, Size2x5};

type InputFn = unsafe fn(&InputTile<'_>);
type OutputFn = unsafe fn(&OutputTile);

/// The transforms of one filtering at one level.
#[derive(Clone, Copy)]
pub(super) struct Transforms {
    input: InputFn,
    output: OutputFn,
}

/// The transforms of `$size`, compiled for the instructions `$features`, if any.
macro_rules! transforms {
    ($simd:ty, $size:ty, $tile:literal, $outputs:literal $(, $features:literal)?) => {{
        $(#[target_feature(enable = $features)])?
        unsafe fn input(tile: &InputTile<'_>) {
            // SAFETY: the caller's promise, passed on.
            unsafe { input_tile::<$simd, $size, $tile, $outputs>(tile) }
        }
        $(#[target_feature(enable = $features)])?
        unsafe fn output(tile: &OutputTile) {
            // SAFETY: the caller's promise, passed on.
            unsafe { output_tile::<$simd, $size, $tile, $outputs>(tile) }
        }
        Transforms { input, output }
    }};
}

/// Those of all filterings.
macro_rules! table {
    ($filtering:expr, $simd:ty $(, $features:literal)?) => {
        match $filtering {
            Filtering::Size2x3 => transforms!($simd, Size2x3, 4, 2 $(, $features)?),
            Filtering::Size2x5 => transforms!($simd, Size2x5, 6, 2 $(, $features)?),
        }
    };
}

impl Transforms {
    /// The transforms for `level`, which must come from [`SimdLevel::current`].
    pub(super) fn of(level: SimdLevel, filtering: Filtering) -> Self {
        match level {
            #[cfg(target_arch = "x86_64")]
            SimdLevel::Avx512 => table!(filtering, Avx512, "avx512f"),
            #[cfg(target_arch = "x86_64")]
            SimdLevel::Avx2 => table!(filtering, Avx2, "avx2,fma"),
            #[cfg(not(target_arch = "x86_64"))]
            SimdLevel::Avx512 | SimdLevel::Avx2 => table!(filtering, Portable),
            SimdLevel::Portable => table!(filtering, Portable),
        }
    }

    /// Transforms a tile of the input.
    ///
    /// # Safety
    ///
    /// As [`InputTile`] says.
    pub(super) unsafe fn input(&self, tile: &InputTile) {
        // SAFETY: passed on; the level's instructions are there.
        unsafe { (self.input)(tile) }
    }

    /// Transforms a tile of products to outputs.
    ///
    /// # Safety
    ///
    /// As [`OutputTile`] says.
    pub(super) unsafe fn output(&self, tile: &OutputTile) {
        // SAFETY: passed on; the level's instructions are there.
        unsafe { (self.output)(tile) }
    }
}

/// A tile of the input, and where its transform goes.
///
/// # Safety
///
/// There must be as many pixels as a tile has, each with `channels` readable floats. At `to + point * stride` for each
/// of as many points, `channels` floats must be writable and no other thread's.
pub(super) struct InputTile<'a> {
    /// The channels of each pixel, row by row.
    pub pixels: &'a [*const f32],
    pub channels: usize,
    pub to: *mut f32,
    /// Floats from point to point.
    pub stride: usize,
}

/// A tile of products, and the outputs that they make.
///
/// # Safety
///
/// At `from + point * stride` for each of a tile's points, `columns` floats, in whole vectors, must be readable; `bias`
/// (unless null) too. At `to + row * row_stride + column * pixel_stride` for each of `outputs` rows and columns,
/// `columns` floats must be writable and no other thread's, and `residual` (unless null) readable there.
pub(super) struct OutputTile {
    pub from: *const f32,
    /// Floats from point to point.
    pub stride: usize,
    pub bias: *const f32,
    /// Laid out as `to`.
    pub residual: *const f32,
    pub activation: Activation,
    pub to: *mut f32,
    pub row_stride: usize,
    pub pixel_stride: usize,
    /// Rows and columns of the tile that are in the output.
    pub outputs: [usize; 2],
    /// Filters.
    pub columns: usize,
}

/// # Safety
///
/// As [`InputTile`] says, and the CPU has `S`.
#[inline(always)]
unsafe fn input_tile<S: Simd, F: Minimal<TILE, OUT>, const TILE: usize, const OUT: usize>(
    tile: &InputTile,
) {
    debug_assert_eq!(tile.pixels.len(), TILE * TILE, "a tile's pixels");
    let mut channel = 0;
    // SAFETY: all pointers stay inside what `InputTile` promises.
    unsafe {
        while channel + S::LANES <= tile.channels {
            input_lanes::<S, F, TILE, OUT, true>(tile, channel, S::LANES);
            channel += S::LANES;
        }
        if channel < tile.channels {
            input_lanes::<S, F, TILE, OUT, false>(tile, channel, tile.channels - channel);
        }
    }
}

/// `count` channels from `channel` on.
///
/// # Safety
///
/// As [`input_tile`].
#[inline(always)]
unsafe fn input_lanes<
    S: Simd,
    F: Minimal<TILE, OUT>,
    const TILE: usize,
    const OUT: usize,
    const FULL: bool,
>(
    tile: &InputTile,
    channel: usize,
    count: usize,
) {
    // SAFETY: passed on.
    unsafe {
        let mut half = [[S::zero(); TILE]; TILE];
        for column in 0..TILE {
            let pixels = std::array::from_fn(|row| {
                let pixel = *tile.pixels.get_unchecked(row * TILE + column);
                S::load_lanes::<FULL>(pixel.add(channel), count)
            });
            let transformed = F::input::<S>(pixels);
            for row in 0..TILE {
                half[row][column] = transformed[row];
            }
        }
        for (row, half) in half.into_iter().enumerate() {
            for (column, value) in F::input::<S>(half).into_iter().enumerate() {
                let to = tile.to.add((row * TILE + column) * tile.stride + channel);
                S::store_lanes::<FULL>(to, value, count);
            }
        }
    }
}

/// # Safety
///
/// As [`OutputTile`] says, and the CPU has `S`.
#[inline(always)]
unsafe fn output_tile<S: Simd, F: Minimal<TILE, OUT>, const TILE: usize, const OUT: usize>(
    tile: &OutputTile,
) {
    for_activation!(tile.activation, ACTIVATION => {
        let mut column = 0;
        // SAFETY: all pointers stay inside what `OutputTile` promises.
        unsafe {
            while column < tile.columns {
                let count = tile.columns - column;
                let sums = sums::<S, F, TILE, OUT>(tile, column);
                if count >= S::LANES {
                    finish::<S, OUT, true>(tile, ACTIVATION, &sums, column, S::LANES);
                } else {
                    finish::<S, OUT, false>(tile, ACTIVATION, &sums, column, count);
                }
                column += S::LANES;
            }
        }
    });
}

/// A vector of each output, from filter `filter` on.
///
/// # Safety
///
/// As [`output_tile`].
#[inline(always)]
unsafe fn sums<S: Simd, F: Minimal<TILE, OUT>, const TILE: usize, const OUT: usize>(
    tile: &OutputTile,
    filter: usize,
) -> [[S::Vector; OUT]; OUT] {
    // SAFETY: passed on.
    unsafe {
        let mut half = [[S::zero(); TILE]; OUT];
        for column in 0..TILE {
            let products = std::array::from_fn(|row| {
                let point = (row * TILE + column) * tile.stride;
                S::load(tile.from.add(point + filter))
            });
            let transformed = F::output::<S>(products);
            for row in 0..OUT {
                half[row][column] = transformed[row];
            }
        }
        let mut sums = [[S::zero(); OUT]; OUT];
        for (sums, half) in sums.iter_mut().zip(half) {
            *sums = F::output::<S>(half);
        }
        sums
    }
}

/// Bias, residual, activation and store of `count` filters from `filter` on.
///
/// # Safety
///
/// As [`output_tile`].
#[inline(always)]
unsafe fn finish<S: Simd, const OUT: usize, const FULL: bool>(
    tile: &OutputTile,
    activation: Activation,
    sums: &[[S::Vector; OUT]; OUT],
    filter: usize,
    count: usize,
) {
    // SAFETY: passed on.
    unsafe {
        let bias = if tile.bias.is_null() {
            S::zero()
        } else {
            S::load(tile.bias.add(filter))
        };
        for (row, sums) in sums.iter().enumerate().take(tile.outputs[0]) {
            for (column, &sum) in sums.iter().enumerate().take(tile.outputs[1]) {
                let at = row * tile.row_stride + column * tile.pixel_stride + filter;
                let mut value = S::add(sum, bias);
                if !tile.residual.is_null() {
                    let residual = S::load_lanes::<FULL>(tile.residual.add(at), count);
                    value = S::add(value, residual);
                }
                S::store_lanes::<FULL>(tile.to.add(at), S::activate(activation, value), count);
            }
        }
    }
}
