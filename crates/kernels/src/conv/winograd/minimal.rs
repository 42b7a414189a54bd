//! Winograd's minimal filtering in one dimension: `m` outputs of a kernel of `r` taps by `m + r - 1` multiplications,
//! F(m, r).
//!
//! `y = Aᵀ [(G g) ⊙ (Bᵀ d)]` for a kernel `g` and `m + r - 1` inputs `d`, as Lavin and Gray write it ("Fast Algorithms for
//! Convolutional Neural Networks", 2015). The matrices of F(2, 3) are those of their paper; F(2, 5) has the six points
//! 0, 1, -1, 2, -2 and ∞ of their F(4, 3), and with them the same `B`. The gradients are those of this formula: what the
//! forward pass multiplies by `Bᵀ` and `Aᵀ`, they multiply by `A` and `B`.

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

/// The product of a matrix and as many vectors as it has columns.
pub(super) trait Matrix<const FROM: usize, const TO: usize> {
    /// # Safety
    ///
    /// The CPU has `S`.
    unsafe fn times<S: Simd>(x: [S::Vector; FROM]) -> [S::Vector; TO];
}

/// `Bᵀ`: inputs to points.
pub(super) struct Input;
/// `Aᵀ`: points to outputs.
pub(super) struct Output;
/// `A`: gradients of outputs to those of points.
pub(super) struct OutputGradient;
/// `B`: gradients of points to those of inputs.
pub(super) struct InputGradient;

// Of F(2, 3):
//
//      1  0 -1  0
// Bᵀ = 0  1  1  0    Aᵀ = 1  1  1  0
//      0 -1  1  0         0  1 -1 -1
//      0  1  0 -1

impl Matrix<4, 4> for Input {
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

impl Matrix<4, 2> for Output {
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

impl Matrix<2, 4> for OutputGradient {
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

impl Matrix<4, 4> for InputGradient {
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

// Of F(2, 5):
//
//      4  0 -5  0  1  0
//      0 -4 -4  1  1  0
// Bᵀ = 0  4 -4 -1  1  0    Aᵀ = 1  1  1  1  1  0
//      0 -2 -1  2  1  0         0  1 -1  2 -2  1
//      0  2 -1 -2  1  0
//      0  4  0 -5  0  1

/// `factor * x + plus`.
///
/// # Safety
///
/// The CPU has `S`.
#[inline(always)]
unsafe fn times<S: Simd>(factor: &f32, x: S::Vector, plus: S::Vector) -> S::Vector {
    // SAFETY: passed on.
    unsafe { S::fma(S::splat(factor), x, plus) }
}

impl Matrix<6, 6> for Input {
    /// Rows of opposite points share their sums of even and of odd terms.
    #[inline(always)]
    unsafe fn times<S: Simd>(x: [S::Vector; 6]) -> [S::Vector; 6] {
        // SAFETY: passed on.
        unsafe {
            let even_1 = times::<S>(&-4.0, x[2], x[4]);
            let odd_1 = times::<S>(&-4.0, x[1], x[3]);
            let even_2 = S::sub(x[4], x[2]);
            let odd_2 = S::sub(x[3], x[1]);
            [
                times::<S>(&4.0, x[0], times::<S>(&-5.0, x[2], x[4])),
                S::add(even_1, odd_1),
                S::sub(even_1, odd_1),
                times::<S>(&2.0, odd_2, even_2),
                times::<S>(&-2.0, odd_2, even_2),
                times::<S>(&4.0, x[1], times::<S>(&-5.0, x[3], x[5])),
            ]
        }
    }
}

impl Matrix<6, 2> for Output {
    #[inline(always)]
    unsafe fn times<S: Simd>(x: [S::Vector; 6]) -> [S::Vector; 2] {
        // SAFETY: passed on.
        unsafe {
            let sums = [S::add(x[1], x[2]), S::add(x[3], x[4])];
            let differences = [S::sub(x[1], x[2]), S::sub(x[3], x[4])];
            [
                S::add(x[0], S::add(sums[0], sums[1])),
                times::<S>(&2.0, differences[1], S::add(differences[0], x[5])),
            ]
        }
    }
}

impl Matrix<2, 6> for OutputGradient {
    #[inline(always)]
    unsafe fn times<S: Simd>(x: [S::Vector; 2]) -> [S::Vector; 6] {
        // SAFETY: passed on.
        unsafe {
            [
                x[0],
                S::add(x[0], x[1]),
                S::sub(x[0], x[1]),
                times::<S>(&2.0, x[1], x[0]),
                times::<S>(&-2.0, x[1], x[0]),
                x[1],
            ]
        }
    }
}

impl Matrix<6, 6> for InputGradient {
    #[inline(always)]
    unsafe fn times<S: Simd>(x: [S::Vector; 6]) -> [S::Vector; 6] {
        // SAFETY: passed on.
        unsafe {
            let sums = [S::add(x[1], x[2]), S::add(x[3], x[4])];
            let differences = [S::sub(x[1], x[2]), S::sub(x[3], x[4])];
            let fourfold = S::sub(x[5], differences[0]);
            let odd = times::<S>(&2.0, differences[1], differences[0]);
            [
                times::<S>(&4.0, x[0], S::zero()),
                times::<S>(&4.0, fourfold, times::<S>(&-2.0, differences[1], S::zero())),
                times::<S>(
                    &-5.0,
                    x[0],
                    times::<S>(&-4.0, sums[0], S::sub(S::zero(), sums[1])),
                ),
                times::<S>(&-5.0, x[5], odd),
                S::add(x[0], S::add(sums[0], sums[1])),
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
    fn columns<M: Matrix<FROM, TO>, const FROM: usize, const TO: usize>() -> Vec<[f32; TO]> {
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
                assert!((value - other[j][i]).abs() < 1e-9, "{i} {j}");
            }
        }
    }

    /// The output `o` of taps `t` is `Σ_i A[i][o] G[i][t] B[d][i]`: 1 for the input `d = o + t`, and else 0.
    fn is_filtering<const TILE: usize>(filtering: Filtering)
    where
        Input: Matrix<TILE, TILE>,
        Output: Matrix<TILE, 2>,
        OutputGradient: Matrix<2, TILE>,
        InputGradient: Matrix<TILE, TILE>,
    {
        let (b, a) = (columns::<Input, TILE, TILE>(), columns::<Output, TILE, 2>());
        is_transposed(&b, &columns::<InputGradient, TILE, TILE>());
        is_transposed(&a, &columns::<OutputGradient, 2, TILE>());
        let g = filtering.kernel_matrix();
        assert_eq!((g.len(), OUTPUTS), (TILE, 2));
        for output in 0..OUTPUTS {
            for tap in 0..g[0].len() {
                for input in 0..TILE {
                    let term = |i: usize| f64::from(a[i][output] * b[input][i]) * g[i][tap];
                    let found: f64 = (0..TILE).map(term).sum();
                    let expected = if input == output + tap { 1.0 } else { 0.0 };
                    assert!(
                        (found - expected).abs() < 1e-12,
                        "{filtering:?} {output} {tap} {input}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_matrices_make_a_filtering() {
        is_filtering::<4>(Filtering::Size2x3);
        is_filtering::<6>(Filtering::Size2x5);
    }
}
