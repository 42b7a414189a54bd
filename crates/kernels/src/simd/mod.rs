//! The few vector operations that the micro-kernels need, one implementation per
//! [`SimdLevel`](crate::SimdLevel).

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod operations;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use operations::Simd;
pub(crate) use portable::Portable;
