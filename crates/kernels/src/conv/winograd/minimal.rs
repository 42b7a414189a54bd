//! Winograd's minimal filtering in one dimension: `m` outputs of a kernel of `r` taps by `m + r - 1` multiplications,
//! F(m, r).
//!
//! `y = Aᵀ [(G g) ⊙ (Bᵀ d)]` for a kernel `g` and `m + r - 1` inputs `d`, as Lavin and Gray write it ("Fast Algorithms for
//! Convolutional Neural Networks", 2015). A filtering is made of points at which polynomials are multiplied, which decide
//! on its rounding error. F(2, 3) has 0, 1, -1 and ∞, as their paper does. The usual ones of six are 0, ±1, ±2 and ∞, with
//! a largest error some five times that of the direct sum; F(2, 5) has 0, ±2/3, ±3/2 and ∞ here, with about that of the
//! direct sum.
//!
//! The gradients are those of this formula: what the forward pass multiplies by `Bᵀ` and `Aᵀ`, they multiply by `A` and
//! `B`.

use crate::simd::Simd;

/// A filtering that convolutions can take, the same in both dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filtering {
    /// F(2, 3).
    Size2x3,
    /// F(2, 5).
    Size2x5,
}

/// Outputs of a filtering along an axis.
pub(super) const OUTPUTS: usize = 2;

impl Filtering {
    /// The one for a kernel of `taps` taps along each axis, if there is one.
    pub(super) const fn of(taps: usize) -> Option<Self> {
        match taps {
            3 => Some(Self::Size2x3),
            5 => Some(Self::Size2x5),
            _ => None,
        }
    }

    /// Taps of the kernel along an axis.
    pub(super) const fn taps(self) -> usize {
        self.tile() + 1 - OUTPUTS
    }

    /// Inputs along an axis, and multiplications.
    pub(super) const fn tile(self) -> usize {
        match self {
            Self::Size2x3 => 4,
            Self::Size2x5 => 6,
        }
    }

    /// Multiplications in two dimensions.
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
            Self::Size2x5 => {
                // One over the products of a point's distances from the others.
                const NEAR: f64 = -81.0 / 130.0;
                const FAR: f64 = 8.0 / 65.0;
                const P: f64 = 2.0 / 3.0;
                const Q: f64 = 3.0 / 2.0;
                &[
                    &[1.0, 0.0, 0.0, 0.0, 0.0],
                    &[
                        NEAR,
                        NEAR * P,
                        NEAR * P * P,
                        NEAR * P * P * P,
                        NEAR * P * P * P * P,
                    ],
                    &[
                        NEAR,
                        -NEAR * P,
                        NEAR * P * P,
                        -NEAR * P * P * P,
                        NEAR * P * P * P * P,
                    ],
                    &[
                        FAR,
                        FAR * Q,
                        FAR * Q * Q,
                        FAR * Q * Q * Q,
                        FAR * Q * Q * Q * Q,
                    ],
                    &[
                        FAR,
                        -FAR * Q,
                        FAR * Q * Q,
                        -FAR * Q * Q * Q,
                        FAR * Q * Q * Q * Q,
                    ],
                    &[0.0, 0.0, 0.0, 0.0, 1.0],
                ]
            }
        }
    }
}

/// The product of a matrix and as many vectors as it has columns.
pub(super) trait Transform<const FROM: usize, const TO: usize> {
    /// # Safety
    ///
    /// The CPU has `S`.
    unsafe fn times<S: Simd>(x: [S::Vector; FROM]) -> [S::Vector; TO];
}

/// `Bᵀ`: inputs to points.
pub(super) struct ToPoints;
/// `Aᵀ`: points to outputs.
pub(super) struct FromPoints;
/// `A`: gradients of outputs to those of points.
pub(super) struct FromPointsTransposed;
/// `B`: gradients of points to those of inputs.
pub(super) struct ToPointsTransposed;

// Of F(2, 3):
//
//      1  0 -1  0
// Bᵀ = 0  1  1  0    Aᵀ = 1  1  1  0
//      0 -1  1  0         0  1 -1 -1
//      0  1  0 -1

impl Transform<4, 4> for ToPoints {
    #[inline(always)]
    unsafe fn times<S: Simd>(x: [S::Vector; 4]) -> [S::Vector; 4] {
        // SAFETY: passed on.
        unsafe {
            [
                S::sub(x[0], x[2]),
                S::add(x[1], x[2]),
                S::sub(x[2], x[1]),
                S::sub(x[1], x[3]),
            ]
        }
    }
}

impl Transform<4, 2> for FromPoints {
    #[inline(always)]
    unsafe fn times<S: Simd>(x: [S::Vector; 4]) -> [S::Vector; 2] {
        // SAFETY: passed on.
        unsafe {
            [
                S::add(S::add(x[0], x[1]), x[2]),
                S::sub(S::sub(x[1], x[2]), x[3]),
            ]
        }
    }
}

impl Transform<2, 4> for FromPointsTransposed {
    #[inline(always)]
    unsafe fn times<S: Simd>(x: [S::Vector; 2]) -> [S::Vector; 4] {
        // SAFETY: passed on.
        unsafe {
            [
                x[0],
                S::add(x[0], x[1]),
                S::sub(x[0], x[1]),
                S::sub(S::zero(), x[1]),
            ]
        }
    }
}

impl Transform<4, 4> for ToPointsTransposed {
    #[inline(always)]
    unsafe fn times<S: Simd>(x: [S::Vector; 4]) -> [S::Vector; 4] {
        // SAFETY: passed on.
        unsafe {
            [
                x[0],
                S::add(S::sub(x[1], x[2]), x[3]),
                S::sub(S::add(x[1], x[2]), x[0]),
                S::sub(S::zero(), x[3]),
            ]
        }
    }
}

// Of F(2, 5), with p = 2/3, q = 3/2 and r = p² + q² = 97/36:
//
//      1  0 -r  0  1  0
//      0 -q -q² p  1  0
// Bᵀ = 0  q -q²-p  1  0    Aᵀ = 1  1  1  1  1  0
//      0 -p -p² q  1  0         0  p -p  q -q  1
//      0  p -p²-q  1  0
//      0  1  0 -r  0  1

const P: f32 = 2.0 / 3.0;
const Q: f32 = 3.0 / 2.0;
const R: f32 = 97.0 / 36.0;

/// `factor * x + plus`.
///
/// # Safety
///
/// The CPU has `S`.
#[inline(always)]
unsafe fn scaled<S: Simd>(factor: &f32, x: S::Vector, plus: S::Vector) -> S::Vector {
    // SAFETY: passed on.
    unsafe { S::fma(S::splat(factor), x, plus) }
}

impl Transform<6, 6> for ToPoints {
    /// Rows of opposite points share their sums of even and of odd terms.
    #[inline(always)]
    unsafe fn times<S: Simd>(x: [S::Vector; 6]) -> [S::Vector; 6] {
        // SAFETY: passed on.
        unsafe {
            let near_even = scaled::<S>(&(-Q * Q), x[2], x[4]);
            let near_odd = scaled::<S>(&P, x[3], scaled::<S>(&-Q, x[1], S::zero()));
            let far_even = scaled::<S>(&(-P * P), x[2], x[4]);
            let far_odd = scaled::<S>(&Q, x[3], scaled::<S>(&-P, x[1], S::zero()));
            [
                scaled::<S>(&-R, x[2], S::add(x[0], x[4])),
                S::add(near_even, near_odd),
                S::sub(near_even, near_odd),
                S::add(far_even, far_odd),
                S::sub(far_even, far_odd),
                scaled::<S>(&-R, x[3], S::add(x[1], x[5])),
            ]
        }
    }
}

impl Transform<6, 2> for FromPoints {
    #[inline(always)]
    unsafe fn times<S: Simd>(x: [S::Vector; 6]) -> [S::Vector; 2] {
        // SAFETY: passed on.
        unsafe {
            let sums = S::add(S::add(x[1], x[2]), S::add(x[3], x[4]));
            let far = scaled::<S>(&Q, S::sub(x[3], x[4]), x[5]);
            [S::add(x[0], sums), scaled::<S>(&P, S::sub(x[1], x[2]), far)]
        }
    }
}

impl Transform<2, 6> for FromPointsTransposed {
    #[inline(always)]
    unsafe fn times<S: Simd>(x: [S::Vector; 2]) -> [S::Vector; 6] {
        // SAFETY: passed on.
        unsafe {
            [
                x[0],
                scaled::<S>(&P, x[1], x[0]),
                scaled::<S>(&-P, x[1], x[0]),
                scaled::<S>(&Q, x[1], x[0]),
                scaled::<S>(&-Q, x[1], x[0]),
                x[1],
            ]
        }
    }
}

impl Transform<6, 6> for ToPointsTransposed {
    #[inline(always)]
    unsafe fn times<S: Simd>(x: [S::Vector; 6]) -> [S::Vector; 6] {
        // SAFETY: passed on.
        unsafe {
            let (near, far) = (S::add(x[1], x[2]), S::add(x[3], x[4]));
            let (near_odd, far_odd) = (S::sub(x[1], x[2]), S::sub(x[3], x[4]));
            let even = scaled::<S>(&-R, x[0], scaled::<S>(&(-P * P), far, S::zero()));
            [
                x[0],
                scaled::<S>(&-Q, near_odd, scaled::<S>(&-P, far_odd, x[5])),
                scaled::<S>(&(-Q * Q), near, even),
                scaled::<S>(
                    &P,
                    near_odd,
                    scaled::<S>(&Q, far_odd, scaled::<S>(&-R, x[5], S::zero())),
                ),
                S::add(x[0], S::add(near, far)),
                x[5],
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Portable;

    /// The matrix, column by column.
    fn columns<M: Transform<FROM, TO>, const FROM: usize, const TO: usize>() -> Vec<[f32; TO]> {
        (0..FROM)
            .map(|column| {
                let mut x = [[0.0; 8]; FROM];
                x[column] = [1.0; 8];
                // SAFETY: every CPU has it.
                unsafe { M::times::<Portable>(x) }.map(|value| value[0])
            })
            .collect()
    }

    /// Rows of a matrix that is the transposed of one whose columns these are.
    fn is_transposed<const FROM: usize, const TO: usize>(of: &[[f32; TO]], other: &[[f32; FROM]]) {
        for (i, column) in of.iter().enumerate() {
            for (j, &value) in column.iter().enumerate() {
                assert!((value - other[j][i]).abs() < 1e-6, "{i} {j}");
            }
        }
    }

    /// The output `o` of taps `t` is `Σ_i A[i][o] G[i][t] B[d][i]`: 1 for the input `d = o + t`, and else 0.
    fn is_filtering<const TILE: usize>(filtering: Filtering)
    where
        ToPoints: Transform<TILE, TILE>,
        FromPoints: Transform<TILE, 2>,
        FromPointsTransposed: Transform<2, TILE>,
        ToPointsTransposed: Transform<TILE, TILE>,
    {
        let (b, a) = (
            columns::<ToPoints, TILE, TILE>(),
            columns::<FromPoints, TILE, 2>(),
        );
        is_transposed(&b, &columns::<ToPointsTransposed, TILE, TILE>());
        is_transposed(&a, &columns::<FromPointsTransposed, 2, TILE>());
        let g = filtering.kernel_matrix();
        assert_eq!((g.len(), OUTPUTS), (TILE, 2));
        for (output, tap, input) in (0..OUTPUTS).flat_map(|output| {
            (0..filtering.taps())
                .flat_map(move |tap| (0..TILE).map(move |input| (output, tap, input)))
        }) {
            let term = |i: usize| f64::from(a[i][output]) * f64::from(b[input][i]) * g[i][tap];
            let found: f64 = (0..TILE).map(term).sum();
            let expected = if input == output + tap { 1.0 } else { 0.0 };
            // Numbers of the matrices are rounded to f32.
            assert!(
                (found - expected).abs() < 1e-6,
                "{filtering:?} {output} {tap} {input}"
            );
        }
    }

    #[test]
    fn the_matrices_make_a_filtering() {
        is_filtering::<4>(Filtering::Size2x3);
        is_filtering::<6>(Filtering::Size2x5);
    }
}
