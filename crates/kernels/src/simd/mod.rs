//! The few vector operations that the micro-kernels need, one implementation per
//! [`SimdLevel`](crate::SimdLevel).

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use portable::Portable;

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
    /// One float from memory in all lanes.
    unsafe fn splat(from: *const f32) -> Self::Vector;
    /// `a * b + c`, rounded once where the CPU can.
    unsafe fn fma(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// `a + b`.
    unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `max(a, 0)`, NaN staying NaN.
    unsafe fn relu(a: Self::Vector) -> Self::Vector;
}
