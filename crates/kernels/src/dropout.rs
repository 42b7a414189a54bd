//! Dropout masks from a counter-based generator.
//!
//! A mask must be the same whichever thread makes which part of it, in which order, and when a
//! training is resumed. A generator with a state would have to be advanced to the right place;
//! Philox is a function of (seed, step, position), ten rounds of two multiplications, and sixteen
//! positions at a time fill the vector registers of every level. Each word gives the bits of two
//! elements. The mask itself is never written: the forward pass compares bits with a threshold, and
//! the backward pass finds the result in what the forward pass keeps.

use crate::error::ShapeError;
use crate::parallel::{self, Shared};
use crate::simd_level::{SimdLevel, multiversioned};

/// A dropout layer's mask: which elements of a tensor are kept is a pure function of seed, step and
/// element.
///
/// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) with the seed
/// as key and (block, step) as counter gives 16 bits for each element, so the rate is rounded to a
/// multiple of 1/65,536. Kept elements are scaled by `1 / (1 - rate)` ("inverted dropout", as in
/// PyTorch and Keras). Nothing depends on the number of threads or on the [`SimdLevel`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// An element is dropped where its 16 bits are below this.
    threshold: u32,
    scale: f32,
    seed: u64,
    step: u64,
}

/// Elements that 16 Philox blocks give bits for.
const BLOCK: usize = 128;

impl Dropout {
    /// Drops each element with probability `rate`, in [0, 1).
    ///
    /// Give each layer its own seed, and each training step its own `step`.
    pub fn new(rate: f64, seed: u64, step: u64) -> Result<Self, ShapeError> {
        if !(0.0..1.0).contains(&rate) {
            return Err(ShapeError::Rate {
                found: rate.to_string(),
            });
        }
        Ok(Self {
            threshold: (rate * 65536.0).round() as u32,
            scale: (1.0 / (1.0 - rate)) as f32,
            seed,
            step,
        })
    }

    /// What kept elements are multiplied by.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// The threshold that [`Dropout::draw`]'s numbers are compared with.
    pub(crate) fn threshold(&self) -> u32 {
        self.threshold
    }

    /// The 16 random bits of elements `start..`, in `BLOCK`-aligned order; the first element's are
    /// at the returned index.
    pub(crate) fn draw(
        &self,
        level: SimdLevel,
        start: usize,
        count: usize,
        bits: &mut Vec<u16>,
    ) -> usize {
        let (first, last) = (start / BLOCK, (start + count).div_ceil(BLOCK));
        bits.resize((last - first) * BLOCK, 0);
        draw_blocks(level, first as u64, self.seed, self.step, bits);
        start % BLOCK
    }
}

multiversioned! {
    fn draw_blocks(first: u64, seed: u64, step: u64, bits: &mut [u16]) = draw_blocks_body
}

/// Sixteen Philox blocks at a time, one a lane: word `w` of lane `l` gives elements `16 w + l` (low
/// half) and `64 + 16 w + l` (high half).
#[inline(always)]
fn draw_blocks_body(first: u64, seed: u64, step: u64, bits: &mut [u16]) {
    for (block, bits) in (first..).zip(bits.chunks_exact_mut(BLOCK)) {
        let counters: [u64; 16] = std::array::from_fn(|lane| block * 16 + lane as u64);
        let words = philox(counters, step, seed);
        let (low, high) = bits.split_at_mut(BLOCK / 2);
        for (w, words) in words.iter().enumerate() {
            for (lane, &word) in words.iter().enumerate() {
                low[16 * w + lane] = word as u16;
                high[16 * w + lane] = (word >> 16) as u16;
            }
        }
    }
}

/// Philox4x32-10 on sixteen counters `[low, high, step low, step high]`.
#[inline(always)]
fn philox(counters: [u64; 16], step: u64, seed: u64) -> [[u32; 16]; 4] {
    let mut x: [[u32; 16]; 4] = [
        counters.map(|counter| counter as u32),
        counters.map(|counter| (counter >> 32) as u32),
        [step as u32; 16],
        [(step >> 32) as u32; 16],
    ];
    let mut key = [seed as u32, (seed >> 32) as u32];
    for _ in 0..10 {
        let mut next = [[0; 16]; 4];
        for lane in 0..16 {
            let a = u64::from(x[0][lane]) * 0xD251_1F53;
            let b = u64::from(x[2][lane]) * 0xCD9E_8D57;
            next[0][lane] = (b >> 32) as u32 ^ x[1][lane] ^ key[0];
            next[1][lane] = b as u32;
            next[2][lane] = (a >> 32) as u32 ^ x[3][lane] ^ key[1];
            next[3][lane] = a as u32;
        }
        x = next;
        key = [
            key[0].wrapping_add(0x9E37_79B9),
            key[1].wrapping_add(0xBB67_AE85),
        ];
    }
    x
}

/// `output = dropout(input)`, of any shape; applied to the output's gradient, it gives the input's.
///
/// # Panics
///
/// When the slices differ in length.
pub fn dropout(dropout: &Dropout, input: &[f32], output: &mut [f32]) {
    /// Elements of one task's pass: their bits stay in L1.
    const PIECE: usize = 64 * BLOCK;
    assert_eq!(input.len(), output.len(), "dropout: output");
    let level = SimdLevel::current();
    let shared = Shared::new(output);
    let pieces = input.len().div_ceil(PIECE);
    parallel::tasks(
        parallel::threads_for(input.len()).min(pieces),
        |task, tasks| {
            let mut bits = Vec::new();
            for piece in parallel::share(pieces, task, tasks) {
                let start = piece * PIECE;
                let input = &input[start..input.len().min(start + PIECE)];
                dropout.draw(level, start, input.len(), &mut bits);
                // SAFETY: each piece is one task's.
                let output = unsafe { shared.slice(start, input.len()) };
                for ((to, &from), &bits) in output.iter_mut().zip(input).zip(&bits) {
                    *to = if u32::from(bits) < dropout.threshold {
                        0.0
                    } else {
                        from * dropout.scale
                    };
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that Random123 publishes for Philox4x32-10.
    #[test]
    fn philox_gives_the_published_numbers() {
        let lane = |words: [[u32; 16]; 4]| words.map(|word| word[3]);
        assert_eq!(
            lane(philox([0; 16], 0, 0)),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        let ones = lane(philox([u64::MAX; 16], u64::MAX, u64::MAX));
        assert_eq!(ones, [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi = lane(philox(
            [0x85a3_08d3_243f_6a88; 16],
            0x0370_7344_1319_8a2e,
            0x299f_31d0_a409_3822,
        ));
        assert_eq!(pi, [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn bits_do_not_depend_on_where_a_draw_starts_or_on_the_level() {
        let dropout = Dropout::new(0.5, 7, 9).expect("a valid rate");
        let mut all = Vec::new();
        assert_eq!(dropout.draw(SimdLevel::Portable, 0, 1000, &mut all), 0);
        for level in SimdLevel::available() {
            let mut some = Vec::new();
            let at = dropout.draw(level, 333, 300, &mut some);
            assert_eq!(some[at..at + 300], all[333..633]);
        }
    }

    #[test]
    fn a_share_of_rate_is_dropped_and_the_mean_is_kept() {
        let ones = vec![1.0; 200_000];
        let mut output = vec![0.0; ones.len()];
        for rate in [0.0, 0.2, 0.5] {
            dropout(
                &Dropout::new(rate, 1, 2).expect("a valid rate"),
                &ones,
                &mut output,
            );
            let dropped = output.iter().filter(|&&x| x == 0.0).count() as f64 / ones.len() as f64;
            assert!((dropped - rate).abs() < 0.005, "{rate}: {dropped}");
            let mean = output.iter().map(|&x| f64::from(x)).sum::<f64>() / ones.len() as f64;
            assert!((mean - 1.0).abs() < 0.01, "{rate}: {mean}");
        }
    }

    #[test]
    fn seeds_and_steps_give_other_masks() {
        let mask = |seed, step| {
            let mut output = [0.0; 256];
            dropout(
                &Dropout::new(0.5, seed, step).expect("a valid rate"),
                &[1.0; 256],
                &mut output,
            );
            output.map(f32::to_bits)
        };
        assert_eq!(mask(1, 1), mask(1, 1));
        assert_ne!(mask(1, 1), mask(2, 1));
        assert_ne!(mask(1, 1), mask(1, 2));
    }

    #[test]
    fn rates_outside_the_range_are_refused() {
        for rate in [-0.1, 1.0, f64::NAN] {
            assert!(Dropout::new(rate, 0, 0).is_err(), "{rate}");
        }
    }
}
