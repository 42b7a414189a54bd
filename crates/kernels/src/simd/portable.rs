//! Plain Rust for every CPU.
//!
//! An array of eight floats is what the compiler turns into the registers of the target: two of SSE2
//! or NEON. The rounding differs from the other levels where the target has no fused multiply-add.

use super::operations::Simd;

/// Plain Rust on arrays of eight: two SSE or NEON registers, one AVX register, as the compiler may.
pub(crate) struct Portable;

/// Rounds once only where that is one instruction: elsewhere `mul_add` is a slow library call.
const FUSED: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));

// SAFETY (all of them): plain Rust; the caller keeps the trait's contract: the pointers are valid.
impl Simd for Portable {
    type Vector = [f32; 8];
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> [f32; 8] {
        [0.0; 8]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> [f32; 8] {
        unsafe { from.cast::<[f32; 8]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, value: [f32; 8]) {
        unsafe { to.cast::<[f32; 8]>().write_unaligned(value) }
    }

    #[inline(always)]
    unsafe fn splat(from: *const f32) -> [f32; 8] {
        unsafe { [*from; 8] }
    }

    #[inline(always)]
    unsafe fn fma(a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| {
            if FUSED {
                a[i].mul_add(b[i], c[i])
            } else {
                a[i] * b[i] + c[i]
            }
        })
    }

    #[inline(always)]
    unsafe fn add(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    unsafe fn relu(a: [f32; 8]) -> [f32; 8] {
        a.map(|x| if x < 0.0 { 0.0 } else { x })
    }
}
