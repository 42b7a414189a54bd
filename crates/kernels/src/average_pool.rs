//! Means over windows or whole images, and their gradients.
//!
//! Windows are those of [`NormPoolShape`], where max-pooling is.

use crate::norm_pool::{NormPoolShape, by_window};
use crate::parallel::{self, Shared, share};
use crate::simd_level::{SimdLevel, multiversioned};

/// What a mean over a window that reaches over an edge divides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Divisor {
    /// The elements that lie in the image (`count_include_pad = 0`, the default of ONNX).
    #[default]
    Inside,
    /// All elements of the window, those of padding being zeros (`count_include_pad = 1`, the
    /// default of PyTorch).
    Window,
}

impl Divisor {
    /// One over the divisor of a window with `inside` elements in the image.
    fn factor(self, shape: &NormPoolShape, inside: usize) -> f32 {
        let [rows, columns] = shape.pool.window;
        let count = match self {
            Self::Inside => inside,
            Self::Window => rows * columns,
        };
        1.0 / count as f32
    }
}

/// Average pooling.
///
/// - `input`: `[batch, height, width, channels]`
/// - `output`: `[batch, output rows, output columns, channels]`, overwritten
///
/// Another output size than that of rounding down (`ceil_mode`) is a matter of padding below and to
/// the right; ONNX and PyTorch do not count that padding, so take [`Divisor::Inside`] then.
///
/// # Panics
///
/// When a slice is not of the shape's length.
pub fn average_pool_forward(
    shape: &NormPoolShape,
    divisor: Divisor,
    input: &[f32],
    output: &mut [f32],
) {
    assert_eq!(input.len(), shape.input_len(), "average pool: input");
    assert_eq!(output.len(), shape.output_len(), "average pool: output");
    let level = SimdLevel::current();
    by_window(shape, input, output, |input, offsets, to| {
        let factor = divisor.factor(shape, offsets.len());
        mean(level, input, offsets, factor, to);
    });
}

/// Writes the gradient of [`average_pool_forward`]'s input from that of its output.
///
/// - `gradient`: `[batch, output rows, output columns, channels]`
/// - `to`: `[batch, height, width, channels]`, overwritten
///
/// # Panics
///
/// When a slice is not of the shape's length.
pub fn average_pool_backward(
    shape: &NormPoolShape,
    divisor: Divisor,
    gradient: &[f32],
    to: &mut [f32],
) {
    assert_eq!(
        gradient.len(),
        shape.output_len(),
        "average pool: output gradient"
    );
    assert_eq!(to.len(), shape.input_len(), "average pool: input gradient");
    let level = SimdLevel::current();
    let (windows, length) = (shape.windows(), shape.image_out());
    let elements = to.len();
    by_image(shape.batch, elements, to, |image, to| {
        to.fill(0.0);
        let gradient = &gradient[image * length..][..length];
        let pixels = gradient.chunks_exact(shape.channels);
        for ((first, offsets), gradient) in windows.iter().zip(pixels) {
            let factor = divisor.factor(shape, offsets.len());
            spread(level, gradient, offsets, factor, &mut to[first..]);
        }
    });
}

/// Mean over each image's pixels: `[batch, pixels, channels]` to `[batch, channels]`.
///
/// # Panics
///
/// When a slice is not of that length, or there are no pixels.
pub fn global_average_pool_forward(
    batch: usize,
    pixels: usize,
    channels: usize,
    input: &[f32],
    output: &mut [f32],
) {
    assert!(pixels > 0, "global average pool: pixels");
    assert_eq!(
        (input.len(), output.len()),
        (batch * pixels * channels, batch * channels),
        "global average pool: lengths"
    );
    let level = SimdLevel::current();
    let (length, factor) = (pixels * channels, 1.0 / pixels as f32);
    by_image(batch, input.len(), output, |image, output| {
        mean_of_pixels(level, &input[image * length..][..length], factor, output);
    });
}

/// Writes the gradient of [`global_average_pool_forward`]'s input, `[batch, pixels, channels]`, from
/// that of its output, `[batch, channels]`.
///
/// # Panics
///
/// When a slice is not of that length, or there are no pixels.
pub fn global_average_pool_backward(
    batch: usize,
    pixels: usize,
    channels: usize,
    gradient: &[f32],
    to: &mut [f32],
) {
    assert!(pixels > 0, "global average pool: pixels");
    assert_eq!(
        (gradient.len(), to.len()),
        (batch * channels, batch * pixels * channels),
        "global average pool: lengths"
    );
    let factor = 1.0 / pixels as f32;
    let elements = to.len();
    by_image(batch, elements, to, |image, to| {
        let gradient = &gradient[image * channels..][..channels];
        let (first, rest) = to.split_at_mut(channels.min(to.len()));
        first
            .iter_mut()
            .zip(gradient)
            .for_each(|(to, gradient)| *to = gradient * factor);
        for pixel in rest.chunks_exact_mut(channels.max(1)) {
            pixel.copy_from_slice(first);
        }
    });
}

/// Runs `work(image, its part of to)` for each image, in parallel.
pub(crate) fn by_image(
    batch: usize,
    elements: usize,
    to: &mut [f32],
    work: impl Fn(usize, &mut [f32]) + Sync,
) {
    let length = to.len() / batch.max(1);
    let to = Shared::new(to);
    let threads = parallel::threads_for_light(elements).min(batch);
    parallel::tasks(threads, |task, tasks| {
        for image in share(batch, task, tasks) {
            // SAFETY: each image is one task's.
            work(image, unsafe { to.slice(image * length, length) });
        }
    });
}

multiversioned! {
    fn mean(input: &[f32], offsets: &[usize], factor: f32, to: &mut [f32]) = mean_body
}

#[inline(always)]
fn mean_body(input: &[f32], offsets: &[usize], factor: f32, to: &mut [f32]) {
    to.fill(0.0);
    for &offset in offsets {
        for (to, &x) in to.iter_mut().zip(&input[offset..]) {
            *to += x;
        }
    }
    for to in to {
        *to *= factor;
    }
}

multiversioned! {
    fn spread(gradient: &[f32], offsets: &[usize], factor: f32, to: &mut [f32]) = spread_body
}

#[inline(always)]
fn spread_body(gradient: &[f32], offsets: &[usize], factor: f32, to: &mut [f32]) {
    for &offset in offsets {
        for (to, &gradient) in to[offset..].iter_mut().zip(gradient) {
            *to += gradient * factor;
        }
    }
}

multiversioned! {
    fn mean_of_pixels(input: &[f32], factor: f32, to: &mut [f32]) = mean_of_pixels_body
}

/// Sums of some hundred pixels are added, rather than single pixels to a long sum, whose digits would
/// be lost.
#[inline(always)]
fn mean_of_pixels_body(input: &[f32], factor: f32, to: &mut [f32]) {
    const PIXELS: usize = 256;
    let channels = to.len();
    to.fill(0.0);
    if input.len() <= PIXELS * channels {
        add_pixels(input, to);
    } else {
        let mut part = crate::parallel::Scratch::any(channels);
        for pixels in input.chunks(PIXELS * channels) {
            part.fill(0.0);
            add_pixels(pixels, &mut part);
            to.iter_mut().zip(&*part).for_each(|(to, part)| *to += part);
        }
    }
    for to in to {
        *to *= factor;
    }
}

#[inline(always)]
fn add_pixels(input: &[f32], to: &mut [f32]) {
    for pixel in input.chunks_exact(to.len().max(1)) {
        for (to, &x) in to.iter_mut().zip(pixel) {
            *to += x;
        }
    }
}
