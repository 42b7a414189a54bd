//! Which instruction set the kernels use.

use std::cell::Cell;
use std::sync::OnceLock;

/// An instruction set that the kernels have a path for.
///
/// Every function of this crate uses [`SimdLevel::current`], read once on the calling thread: the best
/// one that the CPU has, found at the first call. Results differ between levels only by
/// rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SimdLevel {
    /// Plain Rust, vectorized by the compiler for the target's baseline (SSE2 on x86-64, NEON on
    /// 64-bit Arm).
    Portable,
    /// x86-64 with AVX2 and FMA: 8 lanes, 16 registers.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL: 16 lanes, 32 registers.
    Avx512,
}

thread_local! {
    static FORCED: Cell<Option<SimdLevel>> = const { Cell::new(None) };
}

impl SimdLevel {
    /// The best level that this CPU has.
    pub fn detect() -> Self {
        static BEST: OnceLock<SimdLevel> = OnceLock::new();
        *BEST.get_or_init(Self::probe)
    }

    /// The level that the next call from this thread uses: the one of the innermost
    /// [`SimdLevel::scope`], else the best.
    pub fn current() -> Self {
        FORCED.get().unwrap_or_else(Self::detect)
    }

    /// All levels that this CPU has, slowest first.
    pub fn available() -> impl Iterator<Item = Self> {
        [Self::Portable, Self::Avx2, Self::Avx512]
            .into_iter()
            .filter(|&level| level <= Self::detect())
    }

    /// Runs `work` with every call that it makes from this thread at `level`: for tests and
    /// comparisons.
    ///
    /// # Panics
    ///
    /// When the CPU lacks `level`.
    pub fn scope<R>(level: Self, work: impl FnOnce() -> R) -> R {
        assert!(
            level <= Self::detect(),
            "this CPU has {:?} at best, not {level:?}",
            Self::detect()
        );
        let _restore = Restore(FORCED.replace(Some(level)));
        work()
    }

    #[cfg(target_arch = "x86_64")]
    fn probe() -> Self {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        match (avx2, avx512) {
            (true, true) => Self::Avx512,
            (true, false) => Self::Avx2,
            _ => Self::Portable,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn probe() -> Self {
        Self::Portable
    }
}

/// Puts the forced level back, also when the work panics.
struct Restore(Option<SimdLevel>);

impl Drop for Restore {
    fn drop(&mut self) {
        FORCED.set(self.0);
    }
}

/// Defines `fn name(level, args…)`, which runs `body(args…)` compiled for the level's instruction
/// set.
///
/// `body` must be `#[inline(always)]`: it is the same safe code each time, and the compiler
/// vectorizes each copy for the instructions that the copy may use.
macro_rules! multiversioned {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $body:path) => {
        $(#[$meta])*
        $vis fn $name(level: $crate::simd_level::SimdLevel, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            fn avx512($($arg: $ty),*) {
                $body($($arg),*);
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $ty),*) {
                $body($($arg),*);
            }
            match level {
                // SAFETY: a level comes from `SimdLevel::current`, which only gives levels that the
                // CPU has.
                #[cfg(target_arch = "x86_64")]
                $crate::simd_level::SimdLevel::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::simd_level::SimdLevel::Avx2 => unsafe { avx2($($arg),*) },
                #[cfg(not(target_arch = "x86_64"))]
                $crate::simd_level::SimdLevel::Avx512 | $crate::simd_level::SimdLevel::Avx2 => {
                    $body($($arg),*)
                }
                $crate::simd_level::SimdLevel::Portable => $body($($arg),*),
            }
        }
    };
}
pub(crate) use multiversioned;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_ends_with_its_work() {
        let before = SimdLevel::current();
        SimdLevel::scope(SimdLevel::Portable, || {
            assert_eq!(SimdLevel::current(), SimdLevel::Portable);
        });
        assert_eq!(SimdLevel::current(), before);
        let _ = std::panic::catch_unwind(|| {
            SimdLevel::scope(SimdLevel::Portable, || panic!("work failed"))
        });
        assert_eq!(SimdLevel::current(), before);
    }

    #[test]
    fn the_portable_level_is_always_there() {
        assert_eq!(SimdLevel::available().next(), Some(SimdLevel::Portable));
    }
}
