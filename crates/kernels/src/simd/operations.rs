//! The operations, each on one register.

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
