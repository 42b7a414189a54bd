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

/// Fails unless `found` equals `expected` up to rounding.
#[track_caller]
pub fn assert_close(name: &str, found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{name}: length");
    assert_close_sums(name, found, expected, 0.0);
}

/// [`assert_close`] for sums whose largest term is `term`: terms may cancel to next to nothing, and
/// what is left has the rounding errors of the terms, not of the sum.
#[track_caller]
pub fn assert_close_sums(name: &str, found: &[f32], expected: &[f64], term: f64) {
    let largest = expected.iter().fold(term, |most, x| most.max(x.abs()));
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
