//! How numbers are multiplied: as they are, or rounded to bfloat16 in pairs.
//!
//! A CPU with AVX512-BF16 multiplies two pairs of bfloat16 numbers in each of its 32-bit lanes and adds both
//! products to a float: twice the multiply-adds of an ordinary instruction. The micro-kernels do not notice. Where
//! they have one number of A and one of B in 32 bits, they now have two, a *word*, and the sum is half as long:
//!
//! | product | what makes a word | condition |
//! | --- | --- | --- |
//! | forward | two channels of a pixel, [`narrow`] | an even number of channels in a group |
//! | input gradient | two filters of a pixel, [`narrow`] | an even number of filters in a group |
//! | weight gradient | a channel (filter) of two pixels, [`pair`] | |
//! | their weights | two rows of a panel, [`pair`] | |
//!
//! Words lie in the same buffers as floats do, and in the same layouts, whose sizes are then counted in words.

use crate::simd_level::{SimdLevel, multiversioned};

/// How the products of convolutions and dense layers are computed. Sums are of float32 in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Products {
    /// Of float32 numbers.
    #[default]
    Float32,
    /// Of numbers rounded to bfloat16 (8 significant bits, to nearest, ties to even; subnormal numbers are zero),
    /// where the CPU multiplies them ([`Products::bf16_is_available`]) and the sizes allow it: numbers go in pairs,
    /// so that a product over an odd number of channels stays one of float32, and so does a depthwise convolution.
    Bf16,
}

impl Products {
    /// Whether this CPU multiplies bfloat16 numbers in a way that the kernels use: AVX512-BF16.
    pub fn bf16_is_available() -> bool {
        #[cfg(target_arch = "x86_64")]
        return SimdLevel::detect() == SimdLevel::Avx512 && is_x86_feature_detected!("avx512bf16");
        #[cfg(not(target_arch = "x86_64"))]
        return false;
    }

    /// These products of `count` numbers in a row at `level`: float32 where they are odd, or the CPU has no others.
    pub(crate) fn at(self, level: SimdLevel, count: usize) -> Self {
        let possible = level == SimdLevel::Avx512 && count.is_multiple_of(2);
        match self {
            Self::Bf16 if possible && Self::bf16_is_available() => Self::Bf16,
            Self::Bf16 | Self::Float32 => Self::Float32,
        }
    }

    /// Numbers in a word.
    pub(crate) const fn in_word(self) -> usize {
        match self {
            Self::Float32 => 1,
            Self::Bf16 => 2,
        }
    }
}

/// Rounds to bfloat16: to nearest, ties to even. A NaN stays one.
#[inline(always)]
fn round(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    // Rounding could carry a NaN into infinity, or beyond.
    if x.is_nan() {
        bits >> 16 | 0x40
    } else {
        rounded
    }
}

#[inline(always)]
fn word(low: f32, high: f32) -> f32 {
    f32::from_bits(round(low) | round(high) << 16)
}

multiversioned! {
    /// Makes words of two neighbors each: `to` is half as long as `from`.
    pub(crate) fn narrow(from: &[f32], to: &mut [f32]) = narrow_body
}

#[inline(always)]
fn narrow_body(from: &[f32], to: &mut [f32]) {
    debug_assert_eq!(from.len(), 2 * to.len(), "words");
    for (to, from) in to.iter_mut().zip(from.chunks_exact(2)) {
        *to = word(from[0], from[1]);
    }
}

multiversioned! {
    /// Makes a word of each number of `low` with that of `high` in its place, or with zero beyond its end.
    pub(crate) fn pair(low: &[f32], high: &[f32], to: &mut [f32]) = pair_body
}

#[inline(always)]
fn pair_body(low: &[f32], high: &[f32], to: &mut [f32]) {
    debug_assert!(
        low.len() == to.len() && high.len() <= to.len(),
        "as many words as numbers"
    );
    let (with, without) = to.split_at_mut(high.len());
    for ((to, &low), &high) in with.iter_mut().zip(low).zip(high) {
        *to = word(low, high);
    }
    for (to, &low) in without.iter_mut().zip(&low[high.len()..]) {
        *to = word(low, 0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_to_the_nearest_and_ties_to_even() {
        for (x, expected) in [
            (1.0, 0x3f80),
            (-2.5, 0xc020),
            (0.0, 0),
            (f32::INFINITY, 0x7f80),
            // Halfway between two numbers: the even one, below and above.
            (f32::from_bits(0x3f80_8000), 0x3f80),
            (f32::from_bits(0x3f81_8000), 0x3f82),
            (f32::from_bits(0x3f80_8001), 0x3f81),
            // The largest number is beyond the largest bfloat16.
            (f32::MAX, 0x7f80),
        ] {
            assert_eq!(round(x), expected, "{x}");
        }
        // Its significant bits are all in what is cut off.
        for nan in [0x7f80_0001, 0xff80_0001, 0x7fff_ffff] {
            let rounded = f32::from_bits(round(f32::from_bits(nan)) << 16);
            assert!(rounded.is_nan(), "{nan:x}");
        }
    }

    #[test]
    fn words_hold_two_numbers() {
        let bits = |words: &[f32]| words.iter().map(|word| word.to_bits()).collect::<Vec<_>>();
        for level in SimdLevel::available() {
            let mut words = [0.0; 3];
            narrow(level, &[1.0, 2.0, -1.0, 0.0, 0.5, 1.0], &mut words);
            assert_eq!(bits(&words), [0x4000_3f80, 0x0000_bf80, 0x3f80_3f00]);
            pair(level, &[1.0, -1.0, 2.0], &[2.0, 1.0], &mut words);
            assert_eq!(bits(&words), [0x4000_3f80, 0x3f80_bf80, 0x0000_4000]);
        }
    }
}
