//! What the machine can do at most, by measurement: the two lines of a roofline.

use std::time::Instant;

use crate::conv::{Conv2d, conv2d_forward};
use crate::epilogue::Epilogue;
use crate::parallel::{self, share};

/// The highest rates that were measured, of all threads that a kernel here would use together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ceilings {
    /// Multiplications with an addition each in a second: those of the micro-kernel on a product whose operands stay
    /// in the cache.
    pub multiply_adds: f64,
    /// Bytes that are read from memory in a second, of an array that no cache holds.
    pub bytes: f64,
}

impl Ceilings {
    /// Measures them, each for so many seconds; the best of all runs counts.
    pub fn measure(seconds: f64) -> Self {
        Self {
            multiply_adds: multiply_adds(seconds),
            bytes: bytes(seconds),
        }
    }
}

/// The least time of `work` in seconds, of at least three runs.
fn least(seconds: f64, mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut least = f64::INFINITY;
    for run in 0.. {
        let begin = Instant::now();
        work();
        least = least.min(begin.elapsed().as_secs_f64());
        if run >= 2 && start.elapsed().as_secs_f64() > seconds {
            break;
        }
    }
    least
}

fn multiply_adds(seconds: f64) -> f64 {
    let rows = 448 * threads();
    let shape = Conv2d::dense(rows, 400, 256);
    let shape = shape.checked().expect("sizes that fit together");
    let (input, weights) = (vec![0.5; shape.input_len()], vec![0.5; shape.weights_len()]);
    let mut output = vec![0.0; shape.output_len()];
    let time = least(seconds, || {
        conv2d_forward(&shape, &input, &weights, &Epilogue::default(), &mut output);
    });
    shape.multiply_adds() as f64 / time
}

fn bytes(seconds: f64) -> f64 {
    /// More than caches hold: 256 MiB.
    const FLOATS: usize = 64 << 20;
    /// Sums side by side, so that no addition waits for the one before it.
    const LANES: usize = 64;
    let numbers = vec![1.0_f32; FLOATS];
    let time = least(seconds, || {
        parallel::tasks(threads(), |task, tasks| {
            let mut sums = [0.0_f32; LANES];
            for chunk in numbers[share(FLOATS, task, tasks)].chunks_exact(LANES) {
                sums.iter_mut()
                    .zip(chunk)
                    .for_each(|(sum, number)| *sum += number);
            }
            std::hint::black_box(sums);
        });
    });
    (FLOATS * size_of::<f32>()) as f64 / time
}

/// Threads that a large kernel uses here.
fn threads() -> usize {
    parallel::threads_for(usize::MAX)
}
