//! The few vector operations that the micro-kernels need, each on one register: one implementation
//! per [`SimdLevel`](crate::SimdLevel).

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256, __m256i, __m512, __m512bh, __mmask16, _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_maskload_ps, _mm256_maskstore_ps, _mm256_max_ps, _mm256_min_ps,
    _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps, _mm256_sub_ps, _mm512_add_ps,
    _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_storeu_ps,
    _mm512_maskz_loadu_ps, _mm512_max_ps, _mm512_min_ps, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_storeu_ps, _mm512_sub_ps,
};

use crate::epilogue::Activation;

/// Vectors of `LANES` floats.
///
/// # Safety
///
/// All functions may only run on a CPU that has the implementation's instructions; pointers
/// must be valid for the floats that are read or written (no alignment needed).
pub(crate) trait Simd {
    /// One register.
    type Vector: Copy;
    /// Floats in one register.
    const LANES: usize;

    /// All lanes 0.
    unsafe fn zero() -> Self::Vector;
    /// `LANES` floats from memory.
    unsafe fn load(from: *const f32) -> Self::Vector;
    /// `LANES` floats to memory.
    unsafe fn store(to: *mut f32, value: Self::Vector);
    /// The first `count < LANES` floats from memory, the other lanes 0. Only those floats are
    /// touched.
    unsafe fn load_part(from: *const f32, count: usize) -> Self::Vector;
    /// The first `count < LANES` lanes to memory. Only those floats are touched.
    unsafe fn store_part(to: *mut f32, value: Self::Vector, count: usize);
    /// One float from memory in all lanes.
    unsafe fn splat(from: *const f32) -> Self::Vector;
    /// `a * b + c`, rounded once where the CPU can; lanes of words have two products each.
    unsafe fn fma(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// `a + b`.
    unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a - b`.
    unsafe fn sub(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `max(a, 0)`, NaN staying NaN.
    unsafe fn relu(a: Self::Vector) -> Self::Vector;
    /// `min(max(a, 0), 6)`, NaN staying NaN.
    unsafe fn relu6(a: Self::Vector) -> Self::Vector;

    /// The activation of each lane.
    #[inline(always)]
    unsafe fn activate(activation: Activation, a: Self::Vector) -> Self::Vector {
        // SAFETY: passed on.
        unsafe {
            match activation {
                Activation::Linear => a,
                Activation::Relu => Self::relu(a),
                Activation::Relu6 => Self::relu6(a),
            }
        }
    }

    /// `LANES` floats where `FULL`, else the first `count`.
    #[inline(always)]
    unsafe fn load_lanes<const FULL: bool>(from: *const f32, count: usize) -> Self::Vector {
        // SAFETY: passed on.
        unsafe {
            if FULL {
                Self::load(from)
            } else {
                Self::load_part(from, count)
            }
        }
    }

    /// Stores `LANES` floats where `FULL`, else the first `count`.
    #[inline(always)]
    unsafe fn store_lanes<const FULL: bool>(to: *mut f32, value: Self::Vector, count: usize) {
        // SAFETY: passed on.
        unsafe {
            if FULL {
                Self::store(to, value);
            } else {
                Self::store_part(to, value, count);
            }
        }
    }
}

/// Plain Rust for every CPU, on arrays of eight floats: two SSE or NEON registers, one AVX register,
/// as the compiler may. The rounding differs from the other levels where the target has no fused
/// multiply-add.
pub(crate) struct Portable;

/// Rounds once only where that is one instruction: elsewhere `mul_add` is a slow library call.
pub(crate) const FUSED: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));

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
    unsafe fn load_part(from: *const f32, count: usize) -> [f32; 8] {
        let mut value = [0.0; 8];
        unsafe { value.as_mut_ptr().copy_from_nonoverlapping(from, count) }
        value
    }

    #[inline(always)]
    unsafe fn store_part(to: *mut f32, value: [f32; 8], count: usize) {
        unsafe { to.copy_from_nonoverlapping(value.as_ptr(), count) }
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
    unsafe fn sub(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] - b[i])
    }

    #[inline(always)]
    unsafe fn relu(a: [f32; 8]) -> [f32; 8] {
        a.map(|x| Activation::Relu.apply(x))
    }

    #[inline(always)]
    unsafe fn relu6(a: [f32; 8]) -> [f32; 8] {
        a.map(|x| Activation::Relu6.apply(x))
    }
}

/// AVX2 with FMA: registers of 8 floats, of which there are 16.
#[cfg(target_arch = "x86_64")]
pub(crate) struct Avx2;

// SAFETY (all of them): the caller keeps the trait's contract: the instructions exist and the
// pointers are valid.
#[cfg(target_arch = "x86_64")]
impl Simd for Avx2 {
    type Vector = __m256;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> __m256 {
        unsafe { _mm256_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, value: __m256) {
        unsafe { _mm256_storeu_ps(to, value) }
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> __m256 {
        unsafe { _mm256_maskload_ps(from, first_lanes(count)) }
    }

    #[inline(always)]
    unsafe fn store_part(to: *mut f32, value: __m256, count: usize) {
        unsafe { _mm256_maskstore_ps(to, first_lanes(count), value) }
    }

    #[inline(always)]
    unsafe fn splat(from: *const f32) -> __m256 {
        unsafe { _mm256_set1_ps(*from) }
    }

    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn relu(a: __m256) -> __m256 {
        // The second operand is the result where one is NaN.
        unsafe { _mm256_max_ps(_mm256_setzero_ps(), a) }
    }

    #[inline(always)]
    unsafe fn relu6(a: __m256) -> __m256 {
        unsafe { _mm256_min_ps(_mm256_set1_ps(6.0), Self::relu(a)) }
    }
}

/// A mask of the first `count` of 8 lanes.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn first_lanes(count: usize) -> __m256i {
    const LANES: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    // SAFETY: at most 8 lanes, so that the load stays inside the array; the caller has AVX.
    unsafe { _mm256_loadu_si256(LANES.as_ptr().add(8 - count.min(8)).cast()) }
}

/// AVX-512: registers of 16 floats, of which there are 32. Only instructions of AVX-512F are used here.
#[cfg(target_arch = "x86_64")]
pub(crate) struct Avx512;

// SAFETY (all of them): the caller keeps the trait's contract: the instructions exist and the
// pointers are valid.
#[cfg(target_arch = "x86_64")]
impl Simd for Avx512 {
    type Vector = __m512;
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> __m512 {
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, value: __m512) {
        unsafe { _mm512_storeu_ps(to, value) }
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> __m512 {
        unsafe { _mm512_maskz_loadu_ps(first_bits(count), from) }
    }

    #[inline(always)]
    unsafe fn store_part(to: *mut f32, value: __m512, count: usize) {
        unsafe { _mm512_mask_storeu_ps(to, first_bits(count), value) }
    }

    #[inline(always)]
    unsafe fn splat(from: *const f32) -> __m512 {
        unsafe { _mm512_set1_ps(*from) }
    }

    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn relu(a: __m512) -> __m512 {
        // The second operand is the result where one is NaN.
        unsafe { _mm512_max_ps(_mm512_setzero_ps(), a) }
    }

    #[inline(always)]
    unsafe fn relu6(a: __m512) -> __m512 {
        unsafe { _mm512_min_ps(_mm512_set1_ps(6.0), Self::relu(a)) }
    }
}

/// [`Avx512`] on words of two bfloat16 numbers ([`Products`](crate::Products)): what is loaded to be multiplied are
/// words, everything else floats.
#[cfg(target_arch = "x86_64")]
pub(crate) struct Avx512Bf16;

// SAFETY (all of them): the caller keeps the trait's contract: the instructions exist and the
// pointers are valid.
#[cfg(target_arch = "x86_64")]
impl Simd for Avx512Bf16 {
    type Vector = __m512;
    const LANES: usize = Avx512::LANES;

    #[inline(always)]
    unsafe fn zero() -> __m512 {
        unsafe { Avx512::zero() }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        unsafe { Avx512::load(from) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, value: __m512) {
        unsafe { Avx512::store(to, value) }
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> __m512 {
        unsafe { Avx512::load_part(from, count) }
    }

    #[inline(always)]
    unsafe fn store_part(to: *mut f32, value: __m512, count: usize) {
        unsafe { Avx512::store_part(to, value, count) }
    }

    #[inline(always)]
    unsafe fn splat(from: *const f32) -> __m512 {
        unsafe { Avx512::splat(from) }
    }

    /// In each lane the products of both pairs, and `c`.
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the types are as large, and hold any bits.
        let words = |x: __m512| unsafe { std::mem::transmute::<__m512, __m512bh>(x) };
        unsafe { _mm512_dpbf16_ps(c, words(a), words(b)) }
    }

    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { Avx512::add(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        unsafe { Avx512::sub(a, b) }
    }

    #[inline(always)]
    unsafe fn relu(a: __m512) -> __m512 {
        unsafe { Avx512::relu(a) }
    }

    #[inline(always)]
    unsafe fn relu6(a: __m512) -> __m512 {
        unsafe { Avx512::relu6(a) }
    }
}

/// A mask of the first `count < 16` lanes.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn first_bits(count: usize) -> __mmask16 {
    (1 << count) - 1
}
