//! Winograd's minimal filtering in one dimension: `m` outputs of a kernel of `r` taps by `m + r - 1` multiplications,
//! F(m, r).
//!
//! `y = Aᵀ [(G g) ⊙ (Bᵀ d)]` for a kernel `g` and `m + r - 1` inputs `d`, as Lavin and Gray write it ("Fast Algorithms for
//! Convolutional Neural Networks", 2015); the matrices are those of their paper, and for five taps those of the same six
//! points (0, 1, -1, 2, -2, ∞), by which F(4, 3) there has the same `B`.

use crate::simd::Simd;

/// A filtering that convolutions can take, the same in both dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filtering {
    /// F(2, 3).
    Size2x3,
    /// F(2, 5).
    Size2x5,
}

impl Filtering {
    /// The one for a kernel of `taps` taps, if there is one.
    pub(super) const fn of(taps: usize) -> Option<Self> {
        match taps {
            3 => Some(Self::Size2x3),
            5 => Some(Self::Size2x5),
            _ => None,
        }
    }

    /// Outputs along an axis.
    pub(super) const fn outputs(self) -> usize {
        2
    }

    /// Inputs along an axis, and multiplications.
    pub(super) const fn tile(self) -> usize {
        match self {
            Self::Size2x3 => 4,
            Self::Size2x5 => 6,
        }
    }

    /// Points of a tile in two dimensions.
    pub(super) const fn points(self) -> usize {
        self.tile() * self.tile()
    }

    /// The matrix `G`: a row for each multiplication, a column for each tap.
    pub(super) const fn kernel_matrix(self) -> &'static [&'static [f64]] {
        match self {
            Self::Size2x3 => &[
                &[1.0, 0.0, 0.0],
                &[0.5, 0.5, 0.5],
                &[0.5, -0.5, 0.5],
                &[0.0, 0.0, 1.0],
            ],
            Self::Size2x5 => &[
                &[1.0 / 4.0, 0.0, 0.0, 0.0, 0.0],
                &[-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
                &[-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
                &[1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0, 1.0 / 3.0, 2.0 / 3.0],
                &[1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0, -1.0 / 3.0, 2.0 / 3.0],
                &[0.0, 0.0, 0.0, 0.0, 1.0],
            ],
        }
    }
}

/// The products with `Bᵀ` and `Aᵀ` of one filtering, on vectors.
pub(super) trait Minimal<const TILE: usize, const OUT: usize> {
    /// `Bᵀ d`.
    ///
    /// # Safety
    ///
    /// The CPU has `S`.
    unsafe fn input<S: Simd>(d: [S::Vector; TILE]) -> [S::Vector; TILE];

    /// `Aᵀ m`.
    ///
    /// # Safety
    ///
    /// The CPU has `S`.
    unsafe fn output<S: Simd>(m: [S::Vector; TILE]) -> [S::Vector; OUT];
}

/// F(2, 3).
pub(super) struct Size2x3;

impl Minimal<4, 2> for Size2x3 {
    #[inline(always)]
    unsafe fn input<S: Simd>(d: [S::Vector; 4]) -> [S::Vector; 4] {
        // SAFETY: passed on.
        unsafe {
            [
                S::sub(d[0], d[2]),
                S::add(d[1], d[2]),
                S::sub(d[2], d[1]),
                S::sub(d[1], d[3]),
            ]
        }
    }

    #[inline(always)]
    unsafe fn output<S: Simd>(m: [S::Vector; 4]) -> [S::Vector; 2] {
        // SAFETY: passed on.
        unsafe {
            [
                S::add(S::add(m[0], m[1]), m[2]),
                S::sub(S::sub(m[1], m[2]), m[3]),
            ]
        }
    }
}

/// F(2, 5).
pub(super) struct Size2x5;

impl Minimal<6, 2> for Size2x5 {
    /// With what its rows share: `Bᵀ` is 4 0 -5 0 1 0, 0 ∓4 -4 ±1 1 0, 0 ∓2 -1 ±2 1 0, 0 4 0 -5 0 1.
    #[inline(always)]
    unsafe fn input<S: Simd>(d: [S::Vector; 6]) -> [S::Vector; 6] {
        // SAFETY: passed on.
        unsafe {
            let times = |factor: &f32, x, plus| S::fma(S::splat(factor), x, plus);
            let (even_1, odd_1) = (times(&-4.0, d[2], d[4]), times(&-4.0, d[1], d[3]));
            let even_2 = S::sub(d[4], d[2]);
            let odd_2 = times(&2.0, S::sub(d[3], d[1]), S::zero());
            [
                times(&4.0, d[0], times(&-5.0, d[2], d[4])),
                S::add(even_1, odd_1),
                S::sub(even_1, odd_1),
                S::add(even_2, odd_2),
                S::sub(even_2, odd_2),
                times(&4.0, d[1], times(&-5.0, d[3], d[5])),
            ]
        }
    }

    #[inline(always)]
    unsafe fn output<S: Simd>(m: [S::Vector; 6]) -> [S::Vector; 2] {
        // SAFETY: passed on.
        unsafe {
            let (sum_1, sum_2) = (S::add(m[1], m[2]), S::add(m[3], m[4]));
            let (difference_1, difference_2) = (S::sub(m[1], m[2]), S::sub(m[3], m[4]));
            [
                S::add(m[0], S::add(sum_1, sum_2)),
                S::fma(S::splat(&2.0), difference_2, S::add(difference_1, m[5])),
            ]
        }
    }
}
