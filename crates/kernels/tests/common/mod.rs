//! What the tests share: numbers and comparisons.
#![allow(dead_code, reason = "each test file uses some of it")]

use kiln_kernels::SimdLevel;

/// The largest error, relative to the largest value, that is taken for rounding.
pub const TOLERANCE: f64 = 1e-5;

/// Repeatable numbers in [-1, 1), none of them special.
pub fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// A sum of the definition.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum {
    /// What it comes to.
    pub value: f64,
    /// The sum of its terms' squares.
    squares: f64,
}

impl Sum {
    /// Adds `term`; a difference is two of them, as it has the rounding errors of both.
    pub fn add(&mut self, term: f64) {
        self.value += term;
        self.squares += term * term;
    }

    /// The size of the numbers that are rounded on the way: terms may cancel to next to nothing, and
    /// what is left has the rounding errors of the partial sums, which for terms of either sign are
    /// as large as the root of the sum of their squares.
    fn size(&self) -> f64 {
        self.value.abs().max(self.squares.sqrt())
    }
}

impl Extend<f64> for Sum {
    fn extend<T: IntoIterator<Item = f64>>(&mut self, terms: T) {
        terms.into_iter().for_each(|term| self.add(term));
    }
}

/// Fails unless `found` equals `expected` up to rounding.
#[track_caller]
pub fn assert_close(name: &str, found: &[f32], expected: &[f64]) {
    assert_close_within(name, found, expected, 0.0);
}

/// [`assert_close`] for sums.
#[track_caller]
pub fn assert_close_sums(name: &str, found: &[f32], expected: &[Sum]) {
    let size = expected.iter().map(Sum::size).fold(0.0, f64::max);
    let expected: Vec<f64> = expected.iter().map(|sum| sum.value).collect();
    assert_close_within(name, found, &expected, size);
}

/// [`assert_close`] where numbers as large as `size` are rounded on the way.
#[track_caller]
pub fn assert_close_within(name: &str, found: &[f32], expected: &[f64], size: f64) {
    assert_eq!(found.len(), expected.len(), "{name}: length");
    let largest = expected.iter().fold(size, |most, x| most.max(x.abs()));
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs();
        assert!(
            error <= TOLERANCE * largest,
            "{name}[{i}]: {found} instead of {expected}, at most {largest}"
        );
    }
}

/// Runs `check` at each level that the CPU has.
pub fn at_each_level(mut check: impl FnMut(SimdLevel)) {
    for level in SimdLevel::available() {
        SimdLevel::scope(level, || check(level));
    }
}

/// Runs `work` with a pool of `threads` threads.
pub fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("a pool")
        .install(work)
}
