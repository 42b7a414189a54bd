use crate::norm_pool::NormPoolShape;
use crate::parallel::{self, Shared, share};

/// Average pooling: the mean of what of a window lies in the image.
///
/// - `input`: `[batch, height, width, channels]`
/// - `output`: `[batch, output rows, output columns, channels]`, overwritten
///
/// # Panics
///
/// When a slice is not of the shape's length.
pub fn average_pool_forward(shape: &NormPoolShape, input: &[f32], output: &mut [f32]) {
    assert_eq!(input.len(), shape.input_len(), "average pool: input");
    assert_eq!(output.len(), shape.output_len(), "average pool: output");
    let windows = shape.windows();
    for_each_image(shape, output, shape.image_out(), |image, output| {
        let input = &input[image * shape.image_in()..][..shape.image_in()];
        for ((first, offsets), output) in
            windows.iter().zip(output.chunks_exact_mut(shape.channels))
        {
            let factor = 1.0 / offsets.len() as f32;
            output.fill(0.0);
            for offset in offsets {
                output
                    .iter_mut()
                    .zip(&input[first + offset..])
                    .for_each(|(sum, x)| *sum += x);
            }
            for sum in output {
                *sum *= factor;
            }
        }
    });
}

/// The gradient of [`average_pool_forward`]'s input, overwritten.
///
/// # Panics
///
/// When a slice is not of the shape's length.
pub fn average_pool_backward(shape: &NormPoolShape, gradient: &[f32], to_input: &mut [f32]) {
    assert_eq!(
        gradient.len(),
        shape.output_len(),
        "average pool: output gradient"
    );
    assert_eq!(
        to_input.len(),
        shape.input_len(),
        "average pool: input gradient"
    );
    let windows = shape.windows();
    for_each_image(shape, to_input, shape.image_in(), |image, to_input| {
        to_input.fill(0.0);
        let gradient = &gradient[image * shape.image_out()..][..shape.image_out()];
        for ((first, offsets), gradient) in
            windows.iter().zip(gradient.chunks_exact(shape.channels))
        {
            let factor = 1.0 / offsets.len() as f32;
            for offset in offsets {
                to_input[first + offset..]
                    .iter_mut()
                    .zip(gradient)
                    .for_each(|(to, g)| *to += g * factor);
            }
        }
    });
}

/// Runs `work(image, its part of to)` in parallel.
fn for_each_image(
    shape: &NormPoolShape,
    to: &mut [f32],
    length: usize,
    work: impl Fn(usize, &mut [f32]) + Sync,
) {
    let to = Shared::new(to);
    parallel::tasks(
        parallel::threads_for(shape.input_len()).min(shape.batch),
        |task, tasks| {
            for image in share(shape.batch, task, tasks) {
                // SAFETY: each image is one task's.
                work(image, unsafe { to.slice(image * length, length) });
            }
        },
    );
}
