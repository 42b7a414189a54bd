//! The two loops over channels in which depthwise convolutions multiply, and the tables that choose
//! them at run time.
//!
//! Each keeps what it sums in registers while it walks the taps or the pixels, and takes the next
//! vector of channels after that. The last vector may be partial: it is loaded and stored by a mask.

use crate::epilogue::{Activation, for_activation};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Portable, Simd};
use crate::simd_level::SimdLevel;

type GatherFn = unsafe fn(&Gather<'_>);
type GradientsFn = unsafe fn(&Gradients<'_>);

/// Most taps that one call of the gradients' kernel takes: AVX-512 has registers for as many weights
/// and sums.
pub(super) const MOST_TAPS: usize = 9;

/// The micro-kernels of one level.
#[derive(Clone, Copy)]
pub(super) struct Depthwise {
    /// Floats in a vector.
    pub lanes: usize,
    /// Entry `[outputs - 1]`.
    gather: &'static [GatherFn],
    /// For kernels of 3, 5 and 7 columns and strides of 1 and 2 across: entry
    /// `[(columns - 3) / 2][stride - 1][outputs - 1]`.
    windows: [[&'static [GatherFn]; 2]; 3],
    /// Entry `[taps]`.
    gradients: &'static [GradientsFn],
}

/// A table of `$body` (in `N`), compiled for the instructions `$features`, if any.
macro_rules! table {
    ($function:ty, $argument:ty, $body:expr, [$($n:literal)*]) => {{
        unsafe fn sized<const N: usize>(argument: &$argument) {
            // SAFETY: the caller's promise, passed on.
            unsafe { $body(argument) }
        }
        &[$(sized::<$n> as $function),*]
    }};
    ($function:ty, $argument:ty, $body:expr, [$($n:literal)*], $features:literal) => {{
        #[target_feature(enable = $features)]
        unsafe fn sized<const N: usize>(argument: &$argument) {
            // SAFETY: the caller's promise, passed on.
            unsafe { $body(argument) }
        }
        &[$(sized::<$n> as $function),*]
    }};
}

/// The tables of [`windows`].
macro_rules! windows {
    ($simd:ty, $outputs:tt $(, $features:literal)?) => {
        [
            windows!(3: $simd, $outputs $(, $features)?),
            windows!(5: $simd, $outputs $(, $features)?),
            windows!(7: $simd, $outputs $(, $features)?),
        ]
    };
    ($columns:literal: $simd:ty, $outputs:tt $(, $features:literal)?) => {
        [
            table!(GatherFn, Gather<'_>, windows::<$simd, N, $columns, 1>, $outputs $(, $features)?),
            table!(GatherFn, Gather<'_>, windows::<$simd, N, $columns, 2>, $outputs $(, $features)?),
        ]
    };
}

#[cfg(target_arch = "x86_64")]
const AVX512: Depthwise = Depthwise {
    lanes: 16,
    gather: table!(GatherFn, Gather<'_>, gather::<Avx512, N>, [1 2 3 4 5 6 7 8], "avx512f"),
    windows: windows!(Avx512, [1 2 3 4 5 6 7 8], "avx512f"),
    gradients: table!(GradientsFn, Gradients<'_>, gradients::<Avx512, N>, [0 1 2 3 4 5 6 7 8 9], "avx512f"),
};

#[cfg(target_arch = "x86_64")]
const AVX2: Depthwise = Depthwise {
    lanes: 8,
    gather: table!(GatherFn, Gather<'_>, gather::<Avx2, N>, [1 2 3 4 5 6 7 8], "avx2,fma"),
    windows: windows!(Avx2, [1 2 3 4 5 6 7 8], "avx2,fma"),
    gradients: table!(GradientsFn, Gradients<'_>, gradients::<Avx2, N>, [0 1 2 3 4 5 6 7 8 9], "avx2,fma"),
};

const PORTABLE: Depthwise = Depthwise {
    lanes: 8,
    gather: table!(GatherFn, Gather<'_>, gather::<Portable, N>, [1 2 3 4]),
    windows: windows!(Portable, [1 2 3 4]),
    gradients: table!(GradientsFn, Gradients<'_>, gradients::<Portable, N>, [0 1 2 3 4 5 6 7 8 9]),
};

impl Depthwise {
    /// The kernels of `level`, which must come from [`SimdLevel::current`].
    pub(super) fn of(level: SimdLevel) -> Self {
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

    /// Most outputs of one call of [`Depthwise::gather`].
    pub(super) fn outputs(&self) -> usize {
        self.gather.len()
    }

    /// Computes `outputs` outputs.
    ///
    /// # Safety
    ///
    /// As [`Gather`] says.
    pub(super) unsafe fn gather(&self, outputs: usize, gather: &Gather) {
        let table = gather.window.map_or(self.gather, |window| {
            self.windows[window.kernel][window.stride]
        });
        // SAFETY: passed on; the tables only have kernels of this level, which the CPU has.
        unsafe { table[outputs - 1](gather) }
    }

    /// Computes the gradients by all of the argument's taps.
    ///
    /// # Safety
    ///
    /// As [`Gradients`] says.
    pub(super) unsafe fn gradients(&self, gradients: &Gradients) {
        // SAFETY: passed on; the table only has kernels of this level, which the CPU has.
        unsafe { self.gradients[gradients.taps.len()](gradients) }
    }
}

/// One tap: floats from an output's place in the source, and from the start of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tap {
    pub source: usize,
    pub weights: usize,
}

/// Windows of neighboring columns, 1 or 2 pixels apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Place in the tables.
    pub kernel: usize,
    /// Place in the tables.
    pub stride: usize,
    /// Bit `i` is set where the `i`th column from the first output's first is in the image rather
    /// than padding.
    pub inside: u32,
}

impl Window {
    /// Windows of `columns` columns, `stride` apart, if there is a kernel for them.
    pub(super) fn new(columns: usize, stride: usize) -> Option<Self> {
        let kernel = [3, 5, 7].iter().position(|&known| known == columns)?;
        (stride <= 2).then_some(Self {
            kernel,
            stride: stride - 1,
            inside: 0,
        })
    }
}

/// `target[i] = activation(Σ_taps source[i][tap] · weights[tap] + bias + residual[i])` by channel,
/// for some outputs `i` that have the same taps.
///
/// # Safety
///
/// For each output, `channels` floats must be readable at `source + i * source_step` plus each tap's
/// `source` (with windows, at each column after it that is inside), at `weights` plus each tap's `weights`, and at `bias` and `residual + i * target_step`
/// unless these are null; as many at `target + i * target_step` must be writable and no other
/// thread's.
pub(super) struct Gather<'a> {
    pub source: *const f32,
    pub source_step: usize,
    pub taps: &'a [Tap],
    /// Where outputs are windows that slide: each tap then stands for a kernel row, and its place is
    /// that of its first column.
    pub window: Option<Window>,
    pub weights: *const f32,
    pub bias: *const f32,
    pub residual: *const f32,
    pub activation: Activation,
    pub target: *mut f32,
    pub target_step: usize,
    pub channels: usize,
}

/// Computes `OUTPUTS` outputs.
///
/// # Safety
///
/// As [`Gather`] says, and the CPU has `S`.
#[inline(always)]
unsafe fn gather<S: Simd, const OUTPUTS: usize>(all: &Gather) {
    let full = all.channels - all.channels % S::LANES;
    // SAFETY: all pointers stay inside what `Gather` promises.
    unsafe {
        for channel in (0..full).step_by(S::LANES) {
            gather_vector::<S, OUTPUTS, true>(all, channel, S::LANES);
        }
        if full < all.channels {
            gather_vector::<S, OUTPUTS, false>(all, full, all.channels - full);
        }
    }
}

/// `count` channels from `channel` on.
///
/// # Safety
///
/// As [`gather`].
#[inline(always)]
unsafe fn gather_vector<S: Simd, const OUTPUTS: usize, const FULL: bool>(
    all: &Gather,
    channel: usize,
    count: usize,
) {
    // SAFETY: all pointers stay inside what `Gather` promises.
    unsafe {
        let mut sums = [bias::<S, FULL>(all, channel, count); OUTPUTS];
        let (source, weights) = (all.source.add(channel), all.weights.add(channel));
        for tap in all.taps {
            let weight = S::load_lanes::<FULL>(weights.add(tap.weights), count);
            let source = source.add(tap.source);
            for (i, sum) in sums.iter_mut().enumerate() {
                let x = S::load_lanes::<FULL>(source.add(i * all.source_step), count);
                *sum = S::fma(x, weight, *sum);
            }
        }
        finish::<S, OUTPUTS, FULL>(all, channel, count, sums);
    }
}

/// [`gather`] of outputs that are windows of `COLUMNS` neighbors, `STRIDE` pixels apart: what windows
/// share is loaded once, and what is padding is left out.
///
/// # Safety
///
/// As [`Gather`] says, and the CPU has `S`.
#[inline(always)]
unsafe fn windows<S: Simd, const OUTPUTS: usize, const COLUMNS: usize, const STRIDE: usize>(
    all: &Gather,
) {
    let full = all.channels - all.channels % S::LANES;
    // SAFETY: all pointers stay inside what `Gather` promises.
    unsafe {
        for channel in (0..full).step_by(S::LANES) {
            window_vector::<S, OUTPUTS, COLUMNS, STRIDE, true>(all, channel, S::LANES);
        }
        if full < all.channels {
            let count = all.channels - full;
            window_vector::<S, OUTPUTS, COLUMNS, STRIDE, false>(all, full, count);
        }
    }
}

/// `count` channels from `channel` on.
///
/// # Safety
///
/// As [`windows`].
#[inline(always)]
unsafe fn window_vector<
    S: Simd,
    const OUTPUTS: usize,
    const COLUMNS: usize,
    const STRIDE: usize,
    const FULL: bool,
>(
    all: &Gather,
    channel: usize,
    count: usize,
) {
    // SAFETY: all pointers stay inside what `Gather` promises.
    unsafe {
        let mut sums = [bias::<S, FULL>(all, channel, count); OUTPUTS];
        let pixel = all.source_step / STRIDE;
        let inside = all.window.map_or(0, |window| window.inside);
        for row in all.taps {
            // May lie before the image, where no column is read.
            let source = all.source.wrapping_add(row.source + channel);
            let from = all.weights.add(row.weights + channel);
            let weights: [S::Vector; COLUMNS] =
                std::array::from_fn(|k| S::load_lanes::<FULL>(from.add(k * pixel), count));
            // Written out: the compiler does not unroll a loop of this length, and then keeps the
            // sums in memory.
            macro_rules! columns {
                ($($column:literal)*) => {$({
                    const COLUMN: usize = $column;
                    if COLUMN < (OUTPUTS - 1) * STRIDE + COLUMNS && inside >> COLUMN & 1 == 1 {
                        let from = source.wrapping_add(COLUMN * pixel);
                        let x = S::load_lanes::<FULL>(from, count);
                        for (i, sum) in sums.iter_mut().enumerate() {
                            if COLUMN >= i * STRIDE && COLUMN < i * STRIDE + COLUMNS {
                                *sum = S::fma(x, weights[COLUMN - i * STRIDE], *sum);
                            }
                        }
                    }
                })*};
            }
            columns!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20);
        }
        finish::<S, OUTPUTS, FULL>(all, channel, count, sums);
    }
}

/// `count` channels of the bias, or zeros.
///
/// # Safety
///
/// As [`gather`].
#[inline(always)]
unsafe fn bias<S: Simd, const FULL: bool>(all: &Gather, channel: usize, count: usize) -> S::Vector {
    // SAFETY: as `Gather` promises.
    unsafe {
        if all.bias.is_null() {
            S::zero()
        } else {
            S::load_lanes::<FULL>(all.bias.add(channel), count)
        }
    }
}

/// Residual, activation and store.
///
/// # Safety
///
/// As [`gather`].
#[inline(always)]
unsafe fn finish<S: Simd, const OUTPUTS: usize, const FULL: bool>(
    all: &Gather,
    channel: usize,
    count: usize,
    mut sums: [S::Vector; OUTPUTS],
) {
    // SAFETY: all pointers stay inside what `Gather` promises.
    unsafe {
        if !all.residual.is_null() {
            let residual = all.residual.add(channel);
            for (i, sum) in sums.iter_mut().enumerate() {
                let value = S::load_lanes::<FULL>(residual.add(i * all.target_step), count);
                *sum = S::add(*sum, value);
            }
        }
        let target = all.target.add(channel);
        for_activation!(all.activation, ACTIVATION => {
            for (i, &sum) in sums.iter().enumerate() {
                let to = target.add(i * all.target_step);
                S::store_lanes::<FULL>(to, S::activate(ACTIVATION, sum), count);
            }
        });
    }
}

/// Both gradients of some input pixels that have the same taps, by channel:
///
/// ```text
/// to_input[p] = Σ_taps gradient[p][tap] · weights[tap]      sums[tap] += Σ_p gradient[p][tap] · input[p]
/// ```
///
/// The gradient is read once for both. The pixels are `count` rows and columns, at a distance of
/// `input_step` in the input, of `gradient_step` in the gradient, and of `to_input_step` in the
/// input's gradient.
///
/// # Safety
///
/// For each pixel, `channels` floats must be readable at its place in `input`, and at its place in
/// `gradient` plus each tap's `source`; as many at its place in `to_input` must be writable, and for
/// each tap at `weights` and `sums` plus its `weights` readable or writable. What is written must be
/// no other thread's.
pub(super) struct Gradients<'a> {
    pub count: [usize; 2],
    pub input: *const f32,
    pub input_step: [usize; 2],
    pub gradient: *const f32,
    pub gradient_step: [usize; 2],
    pub taps: &'a [Tap],
    pub weights: *const f32,
    pub to_input: *mut f32,
    pub to_input_step: [usize; 2],
    /// Whether to add to `to_input`.
    pub accumulate: bool,
    pub sums: *mut f32,
    pub channels: usize,
}

/// Computes the gradients by `TAPS` taps.
///
/// # Safety
///
/// As [`Gradients`] says, and the CPU has `S`.
#[inline(always)]
unsafe fn gradients<S: Simd, const TAPS: usize>(all: &Gradients) {
    let full = all.channels - all.channels % S::LANES;
    // SAFETY: all pointers stay inside what `Gradients` promises.
    unsafe {
        for channel in (0..full).step_by(S::LANES) {
            gradients_vector::<S, TAPS, true>(all, channel, S::LANES);
        }
        if full < all.channels {
            gradients_vector::<S, TAPS, false>(all, full, all.channels - full);
        }
    }
}

/// `count` channels from `channel` on.
///
/// # Safety
///
/// As [`gradients`].
#[inline(always)]
unsafe fn gradients_vector<S: Simd, const TAPS: usize, const FULL: bool>(
    all: &Gradients,
    channel: usize,
    count: usize,
) {
    // SAFETY: all pointers stay inside what `Gradients` promises.
    unsafe {
        let mut sums = [S::zero(); TAPS];
        let taps: [Tap; TAPS] = std::array::from_fn(|i| all.taps[i]);
        let weights: [S::Vector; TAPS] = std::array::from_fn(|i| {
            S::load_lanes::<FULL>(all.weights.add(taps[i].weights + channel), count)
        });
        for row in 0..all.count[0] {
            let mut input = all.input.add(row * all.input_step[0] + channel);
            let mut gradient = all.gradient.add(row * all.gradient_step[0] + channel);
            let mut to_input = all.to_input.add(row * all.to_input_step[0] + channel);
            for _ in 0..all.count[1] {
                let x = S::load_lanes::<FULL>(input, count);
                let mut to = if all.accumulate {
                    S::load_lanes::<FULL>(to_input, count)
                } else {
                    S::zero()
                };
                for i in 0..TAPS {
                    let g = S::load_lanes::<FULL>(gradient.add(taps[i].source), count);
                    to = S::fma(g, weights[i], to);
                    sums[i] = S::fma(g, x, sums[i]);
                }
                S::store_lanes::<FULL>(to_input, to, count);
                input = input.wrapping_add(all.input_step[1]);
                gradient = gradient.wrapping_add(all.gradient_step[1]);
                to_input = to_input.wrapping_add(all.to_input_step[1]);
            }
        }
        for (tap, &sum) in taps.iter().zip(&sums) {
            let to = all.sums.add(tap.weights + channel);
            let total = S::add(S::load_lanes::<FULL>(to, count), sum);
            S::store_lanes::<FULL>(to, total, count);
        }
    }
}
