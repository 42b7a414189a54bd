//! The transforms of tiles, and the tables that choose them at run time.
//!
//! A transform is one along the columns of a tile and one along its rows. Both keep a vector of channels of each of the
//! tile's numbers, and take the next vector after that. Of pixels the last vector may be partial: it is loaded and stored
//! by a mask. Points are whole vectors.

use crate::epilogue::{Activation, for_activation};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Portable, Simd};
use crate::simd_level::SimdLevel;

use super::minimal::{
    Filtering, FromPoints, FromPointsTransposed, OUTPUTS, ToPoints, ToPointsTransposed, Transform,
};

/// The transforms of one filtering at one level. Calling one needs a valid argument and the level's instructions.
#[derive(Clone, Copy)]
pub(super) struct Transforms {
    /// Pixels of the input to points.
    pub input: unsafe fn(&Spread<'_>),
    /// Points to pixels of the output.
    pub output: unsafe fn(&Finish<'_>),
    /// Pixels of the output's gradient to points.
    pub output_gradient: unsafe fn(&Spread<'_>),
    /// Points to what is added to pixels of the input's gradient.
    pub input_gradient: unsafe fn(&Gather<'_>),
}

/// The transforms of tiles of `$tile`, compiled for the instructions `$features`, if any.
macro_rules! transforms {
    ($simd:ty, $tile:literal $(, $features:literal)?) => {{
        $(#[target_feature(enable = $features)])?
        unsafe fn input(tile: &Spread<'_>) {
            // SAFETY: the caller's promise, passed on.
            unsafe { spread::<$simd, ToPoints, $tile, $tile>(tile) }
        }
        $(#[target_feature(enable = $features)])?
        unsafe fn output(tile: &Finish<'_>) {
            // SAFETY: as above.
            unsafe { finish::<$simd, $tile>(tile) }
        }
        $(#[target_feature(enable = $features)])?
        unsafe fn output_gradient(tile: &Spread<'_>) {
            // SAFETY: as above.
            unsafe { spread::<$simd, FromPointsTransposed, OUTPUTS, $tile>(tile) }
        }
        $(#[target_feature(enable = $features)])?
        unsafe fn input_gradient(tile: &Gather<'_>) {
            // SAFETY: as above.
            unsafe { gather::<$simd, $tile>(tile) }
        }
        Transforms { input, output, output_gradient, input_gradient }
    }};
}

/// Those of a filtering.
macro_rules! choose {
    ($filtering:expr, $simd:ty $(, $features:literal)?) => {
        match $filtering {
            Filtering::Size2x3 => transforms!($simd, 4 $(, $features)?),
            Filtering::Size2x5 => transforms!($simd, 6 $(, $features)?),
        }
    };
}

impl Transforms {
    /// The transforms for `level`, which must come from [`SimdLevel::current`].
    pub(super) fn of(level: SimdLevel, filtering: Filtering) -> Self {
        match level {
            #[cfg(target_arch = "x86_64")]
            SimdLevel::Avx512 => choose!(filtering, Avx512, "avx512f"),
            #[cfg(target_arch = "x86_64")]
            SimdLevel::Avx2 => choose!(filtering, Avx2, "avx2,fma"),
            #[cfg(not(target_arch = "x86_64"))]
            SimdLevel::Avx512 | SimdLevel::Avx2 => choose!(filtering, Portable),
            SimdLevel::Portable => choose!(filtering, Portable),
        }
    }
}

/// The pixels of a tile, and where its points go.
///
/// # Safety
///
/// There must be as many pixels as the tile has, each with `channels` readable floats. At `to + point * stride` for each
/// of a tile's points, `channels` floats, in whole vectors, must be writable and no other thread's.
pub(super) struct Spread<'a> {
    /// The channels of each pixel, row by row.
    pub pixels: &'a [*const f32],
    pub channels: usize,
    pub to: *mut f32,
    /// Floats from point to point.
    pub stride: usize,
}

/// The points of a tile, and the pixels of the output that they make.
///
/// # Safety
///
/// At `from + point * stride` for each of a tile's points, `channels` floats, in whole vectors, must be readable; `bias`
/// (unless null) too. There must be as many pixels as the tile has outputs, each null or with `channels` floats that are
/// writable and no other thread's. `residual` (unless it is null) must be readable at the same distance from `start`.
pub(super) struct Finish<'a> {
    pub from: *const f32,
    /// Floats from point to point.
    pub stride: usize,
    pub bias: *const f32,
    pub residual: *const f32,
    pub activation: Activation,
    /// The channels of each pixel, row by row; null outside the image.
    pub pixels: &'a [*mut f32],
    /// Where the images begin whose residual this is.
    pub start: *mut f32,
    pub channels: usize,
}

/// The points of a tile, and the pixels that what they make is added to.
///
/// # Safety
///
/// As [`Finish`], with as many pixels as the tile has inputs.
pub(super) struct Gather<'a> {
    pub from: *const f32,
    /// Floats from point to point.
    pub stride: usize,
    /// The channels of each pixel, row by row; null outside the image.
    pub pixels: &'a [*mut f32],
    pub channels: usize,
}

/// `M x Mᵀ` of the tile `x` whose number in a row and column `load` gives.
///
/// # Safety
///
/// The CPU has `S`.
#[inline(always)]
unsafe fn both<S: Simd, M: Transform<FROM, TO>, const FROM: usize, const TO: usize>(
    load: impl Fn(usize, usize) -> S::Vector,
) -> [[S::Vector; TO]; TO] {
    // SAFETY: passed on.
    unsafe {
        let mut half = [[S::zero(); FROM]; TO];
        for column in 0..FROM {
            let transformed = M::times::<S>(std::array::from_fn(|row| load(row, column)));
            for (half, value) in half.iter_mut().zip(transformed) {
                half[column] = value;
            }
        }
        let mut whole = [[S::zero(); TO]; TO];
        for (whole, half) in whole.iter_mut().zip(half) {
            *whole = M::times::<S>(half);
        }
        whole
    }
}

/// # Safety
///
/// As [`Spread`] says, and the CPU has `S`.
#[inline(always)]
unsafe fn spread<S: Simd, M: Transform<FROM, TO>, const FROM: usize, const TO: usize>(
    tile: &Spread,
) {
    assert_eq!(tile.pixels.len(), FROM * FROM, "a tile's pixels");
    let mut channel = 0;
    while channel < tile.channels {
        let count = tile.channels - channel;
        let pixel = |row: usize, column: usize| {
            // SAFETY: the caller promises as many pixels.
            unsafe { tile.pixels.get_unchecked(row * FROM + column).add(channel) }
        };
        // SAFETY: all pointers stay inside what `Spread` promises.
        unsafe {
            let points = if count >= S::LANES {
                both::<S, M, FROM, TO>(|row, column| S::load(pixel(row, column)))
            } else {
                both::<S, M, FROM, TO>(|row, column| S::load_part(pixel(row, column), count))
            };
            for (point, &value) in points.as_flattened().iter().enumerate() {
                S::store(tile.to.add(point * tile.stride + channel), value);
            }
        }
        channel += S::LANES;
    }
}

/// # Safety
///
/// As [`Finish`] says, and the CPU has `S`.
#[inline(always)]
unsafe fn finish<S: Simd, const TILE: usize>(tile: &Finish)
where
    FromPoints: Transform<TILE, OUTPUTS>,
{
    assert_eq!(tile.pixels.len(), OUTPUTS * OUTPUTS, "a tile's outputs");
    for_activation!(tile.activation, ACTIVATION => {
        let mut channel = 0;
        while channel < tile.channels {
            // SAFETY: all pointers stay inside what `Finish` promises.
            unsafe {
                let sums = both::<S, FromPoints, TILE, OUTPUTS>(|row, column| {
                    S::load(tile.from.add((row * TILE + column) * tile.stride + channel))
                });
                let count = tile.channels - channel;
                if count >= S::LANES {
                    finish_lanes::<S, true>(tile, ACTIVATION, &sums, channel, S::LANES);
                } else {
                    finish_lanes::<S, false>(tile, ACTIVATION, &sums, channel, count);
                }
            }
            channel += S::LANES;
        }
    });
}

/// Bias, residual, activation and store of `count` channels from `channel` on.
///
/// # Safety
///
/// As [`finish`].
#[inline(always)]
unsafe fn finish_lanes<S: Simd, const FULL: bool>(
    tile: &Finish,
    activation: Activation,
    sums: &[[S::Vector; OUTPUTS]; OUTPUTS],
    channel: usize,
    count: usize,
) {
    // SAFETY: passed on.
    unsafe {
        let bias = if tile.bias.is_null() {
            S::zero()
        } else {
            S::load(tile.bias.add(channel))
        };
        for (&pixel, &sum) in tile.pixels.iter().zip(sums.as_flattened()) {
            if pixel.is_null() {
                continue;
            }
            let to = pixel.add(channel);
            let mut value = S::add(sum, bias);
            if !tile.residual.is_null() {
                let from = tile.residual.offset(to.offset_from(tile.start));
                value = S::add(value, S::load_lanes::<FULL>(from, count));
            }
            S::store_lanes::<FULL>(to, S::activate(activation, value), count);
        }
    }
}

/// # Safety
///
/// As [`Gather`] says, and the CPU has `S`.
#[inline(always)]
unsafe fn gather<S: Simd, const TILE: usize>(tile: &Gather)
where
    ToPointsTransposed: Transform<TILE, TILE>,
{
    assert_eq!(tile.pixels.len(), TILE * TILE, "a tile's pixels");
    let mut channel = 0;
    while channel < tile.channels {
        // SAFETY: all pointers stay inside what `Gather` promises.
        unsafe {
            let sums = both::<S, ToPointsTransposed, TILE, TILE>(|row, column| {
                S::load(tile.from.add((row * TILE + column) * tile.stride + channel))
            });
            let count = tile.channels - channel;
            for (&pixel, &sum) in tile.pixels.iter().zip(sums.as_flattened()) {
                if pixel.is_null() {
                    continue;
                }
                let to = pixel.add(channel);
                if count >= S::LANES {
                    S::store(to, S::add(S::load(to), sum));
                } else {
                    S::store_part(to, S::add(S::load_part(to, count), sum), count);
                }
            }
        }
        channel += S::LANES;
    }
}
