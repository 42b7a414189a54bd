//! Convolution, pooling and padding.

use burn::backend::Dispatch;
use burn::backend::ops::{FloatTensorOps, ModuleOps};
use burn::tensor::Slice;
use burn::tensor::ops::{ConvOptions, PadMode as Padding};
use kiln_model::graph::{Conv, PadMode, Padded, Pool, Window};

use super::moves::entries;
use super::value::{Value, add, constant_like, dims, mul};

/// Convolves images `[n, c, h, w]`.
pub fn conv(settings: &Conv, x: Value, weight: Value, bias: Option<Value>) -> Value {
    let window = settings.window;
    let pads = window.pads.map(|[before, after]| (before, after));
    let options =
        ConvOptions::new_with_padding(window.strides, pads, window.dilations, settings.groups);
    Dispatch::conv2d(x, weight, bias, options)
}

/// The maximum of each window; `output` are the rows and columns.
pub fn max_pool(pool: &Pool, x: Value, output: [usize; 2]) -> Value {
    let window = &pool.window;
    let (x, pads) = match symmetric(pool) {
        Some(pads) => (x, pads),
        None => (padded(window, x, output, f32::NEG_INFINITY), [0; 2]),
    };
    Dispatch::max_pool2d(
        x,
        window.kernel,
        window.strides,
        pads,
        window.dilations,
        false,
    )
}

/// The mean of each window; `output` are the rows and columns.
pub fn average_pool(pool: &Pool, x: Value, output: [usize; 2]) -> Value {
    let window = &pool.window;
    if window.dilations == [1; 2]
        && let Some(pads) = symmetric(pool)
    {
        let with_pads = pool.count_include_pad;
        return Dispatch::avg_pool2d(x, window.kernel, window.strides, pads, with_pads, false);
    }
    let size = [2, 3].map(|axis| dims(&x)[axis]);
    let x = padded(window, x, output, 0.0);
    let sum = window_sum(window, &x, output);
    let [rows, columns] = [0, 1].map(|axis| counts(pool, axis, size[axis], output[axis]));
    let factors = rows
        .iter()
        .flat_map(|rows| columns.iter().map(move |columns| 1.0 / (rows * columns)));
    let factors: Vec<f32> = factors.map(|factor| factor as f32).collect();
    let factors = constant_like(&sum, factors, &[1, 1, output[0], output[1]]);
    mul(sum, factors)
}

/// The pads, where those before and after are the same and no window reaches beyond.
fn symmetric(pool: &Pool) -> Option<[usize; 2]> {
    let pads = pool.window.pads;
    let same = pads.iter().all(|[before, after]| before == after);
    (same && !pool.ceil_mode).then(|| pads.map(|[before, _]| before))
}

/// The image with as much around it as the windows of `output` reach.
fn padded(window: &Window, x: Value, output: [usize; 2], number: f32) -> Value {
    let size = dims(&x);
    let mut pads = vec![(0, 0); 4];
    for axis in 0..2 {
        let reach = (output[axis] - 1) * window.strides[axis]
            + (window.kernel[axis] - 1) * window.dilations[axis]
            + 1;
        let before = window.pads[axis][0];
        pads[axis + 2] = (before, reach.saturating_sub(before + size[axis + 2]));
    }
    if pads.iter().all(|&pad| pad == (0, 0)) {
        return x;
    }
    Dispatch::float_pad(x, &pads, Padding::Constant(number))
}

/// The sum of each window of a padded image: of as many shifted images as a window has entries.
fn window_sum(window: &Window, x: &Value, output: [usize; 2]) -> Value {
    let size = dims(x);
    let all = |axis: usize| Slice::from(0..size[axis]);
    let part = |row: usize, column: usize| {
        let along = |axis: usize, entry: usize| {
            let start = entry * window.dilations[axis];
            let step = window.strides[axis];
            let end = start + (output[axis] - 1) * step + 1;
            Slice::new(start as isize, Some(end as isize), step as isize)
        };
        let slices = [all(0), all(1), along(0, row), along(1, column)];
        Dispatch::float_slice(x.clone(), &slices)
    };
    let [rows, columns] = window.kernel;
    let entries = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
    entries
        .map(|(row, column)| part(row, column))
        .reduce(add)
        .unwrap_or_else(|| x.clone())
}

/// How many entries of each window along an axis count: those in the image, or in its padding too.
fn counts(pool: &Pool, axis: usize, size: usize, output: usize) -> Vec<f64> {
    let window = &pool.window;
    let [before, after] = window.pads[axis];
    // Positions are counted from the padding's begin.
    let counted = if pool.count_include_pad {
        0..before + size + after
    } else {
        before..before + size
    };
    (0..output)
        .map(|at| {
            let entries = (0..window.kernel[axis])
                .map(|entry| at * window.strides[axis] + entry * window.dilations[axis]);
            entries.filter(|entry| counted.contains(entry)).count() as f64
        })
        .collect()
}

/// Puts more entries at the ends of axes.
pub fn pad(settings: &Padded, x: Value) -> Value {
    match settings.mode {
        PadMode::Constant(number) => {
            let pads: Vec<_> = settings.pads.iter().map(|&[a, b]| (a, b)).collect();
            Dispatch::float_pad(x, &pads, Padding::Constant(number))
        }
        PadMode::Reflect => by_entries(settings, x, |at, size| {
            // Back and forth between the edges.
            let period = (2 * (size - 1)).max(1);
            let at = at.rem_euclid(period);
            at.min(period - at)
        }),
        PadMode::Edge => by_entries(settings, x, |at, size| at.clamp(0, size - 1)),
    }
}

/// Takes for each place, which may lie outside, the entry that `source` names.
fn by_entries(settings: &Padded, x: Value, source: impl Fn(isize, isize) -> isize) -> Value {
    let size = dims(&x);
    let mut padded = x;
    for (axis, (&[before, after], &size)) in settings.pads.iter().zip(&size).enumerate() {
        if before + after > 0 {
            let places = -(before as isize)..(size + after) as isize;
            let sources = places.map(|at| source(at, size as isize) as usize);
            padded = entries(padded, axis, &sources.collect::<Vec<_>>());
        }
    }
    padded
}
