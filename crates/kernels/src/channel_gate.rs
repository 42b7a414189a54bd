//! Multiplication of each channel of an image by a number: the last step of squeeze-and-excitation
//! (Hu et al., "Squeeze-and-Excitation Networks", 2018).

use crate::average_pool::by_image;
use crate::parallel::{self, Scratch, Shared, share};
use crate::simd_level::{SimdLevel, multiversioned};

/// `output[n, p, c] = input[n, p, c] · gate[n, c]`.
///
/// - `input`, `output`: `[batch, pixels, channels]`
/// - `gate`: `[batch, channels]`
///
/// # Panics
///
/// When a slice is not of that length.
pub fn channel_gate_forward(
    batch: usize,
    channels: usize,
    input: &[f32],
    gate: &[f32],
    output: &mut [f32],
) {
    assert_lengths(batch, channels, input, gate);
    assert_eq!(output.len(), input.len(), "channel gate: output");
    let level = SimdLevel::current();
    let length = input.len() / batch.max(1);
    by_image(batch, input.len(), output, |image, output| {
        let gate = &gate[image * channels..][..channels];
        multiply(level, &input[image * length..][..length], gate, output);
    });
}

/// Writes the gradients of [`channel_gate_forward`]'s input and gate from that of its output, in one
/// pass.
///
/// - `input`, `gradient`, `to_input`: `[batch, pixels, channels]`
/// - `gate`, `to_gate`: `[batch, channels]`
///
/// # Panics
///
/// When a slice is not of that length.
pub fn channel_gate_backward(
    batch: usize,
    channels: usize,
    input: &[f32],
    gate: &[f32],
    gradient: &[f32],
    to_input: &mut [f32],
    to_gate: &mut [f32],
) {
    assert_lengths(batch, channels, input, gate);
    assert_eq!(
        (gradient.len(), to_input.len(), to_gate.len()),
        (input.len(), input.len(), gate.len()),
        "channel gate: gradients"
    );
    let level = SimdLevel::current();
    let length = input.len() / batch.max(1);
    let (to_input, to_gate) = (Shared::new(to_input), Shared::new(to_gate));
    parallel::tasks(
        parallel::threads_for_light(input.len()).min(batch),
        |task, tasks| {
            for image in share(batch, task, tasks) {
                // SAFETY: each image is one task's.
                let (to_input, to_gate) = unsafe {
                    (
                        to_input.slice(image * length, length),
                        to_gate.slice(image * channels, channels),
                    )
                };
                gradients(
                    level,
                    &input[image * length..][..length],
                    &gate[image * channels..][..channels],
                    &gradient[image * length..][..length],
                    to_input,
                    to_gate,
                );
            }
        },
    );
}

fn assert_lengths(batch: usize, channels: usize, input: &[f32], gate: &[f32]) {
    assert_eq!(gate.len(), batch * channels, "channel gate: gate");
    assert!(
        input.len().checked_rem(gate.len()).unwrap_or(input.len()) == 0,
        "channel gate: input"
    );
}

multiversioned! {
    fn multiply(input: &[f32], gate: &[f32], output: &mut [f32]) = multiply_body
}

#[inline(always)]
fn multiply_body(input: &[f32], gate: &[f32], output: &mut [f32]) {
    let pixels = input.chunks_exact(gate.len());
    for (to, pixel) in output.chunks_exact_mut(gate.len()).zip(pixels) {
        for ((to, &x), &gate) in to.iter_mut().zip(pixel).zip(gate) {
            *to = x * gate;
        }
    }
}

multiversioned! {
    fn gradients(
        input: &[f32],
        gate: &[f32],
        gradient: &[f32],
        to_input: &mut [f32],
        to_gate: &mut [f32],
    ) = gradients_body
}

#[inline(always)]
fn gradients_body(
    input: &[f32],
    gate: &[f32],
    gradient: &[f32],
    to_input: &mut [f32],
    to_gate: &mut [f32],
) {
    /// Pixels whose products are summed before that sum is added to the others.
    const PIXELS: usize = 256;
    let channels = gate.len();
    let mut part = Scratch::any(channels);
    to_gate.fill(0.0);
    let stretches = input
        .chunks(PIXELS * channels)
        .zip(gradient.chunks(PIXELS * channels));
    for (to, (input, gradient)) in to_input.chunks_mut(PIXELS * channels).zip(stretches) {
        part.fill(0.0);
        let pixels = input
            .chunks_exact(channels)
            .zip(gradient.chunks_exact(channels));
        for (to, (x, g)) in to.chunks_exact_mut(channels).zip(pixels) {
            let (part, gate) = (&mut part[..channels], &gate[..channels]);
            for c in 0..channels {
                to[c] = g[c] * gate[c];
                part[c] += g[c] * x[c];
            }
        }
        to_gate
            .iter_mut()
            .zip(&*part)
            .for_each(|(to, part)| *to += part);
    }
}
